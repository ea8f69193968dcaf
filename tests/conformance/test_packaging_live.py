"""The files in packaging/ that prune while the server runs: the unit, the timer, the CronJob."""

from __future__ import annotations

import itertools
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.command_lines import parse
from tests.support.packaging import KUBERNETES, ROOT, UNITS, one, pod_of, settings

from fastprune.cli.state_folder import STATE_VARIABLE

LIVE = KUBERNETES / "live"
SERVER = "ociregistry.service"


def unit(name: str) -> dict[tuple[str, str], str]:
    """The settings of a unit; of a name that occurs twice, the last value."""
    return {(section, name): value for section, name, value in settings(UNITS / name)}


def words_of_the_unit() -> list[str]:
    program, *words = shlex.split(unit("fastprune-live.service")["Service", "ExecStart"])
    assert program == "/usr/local/bin/fastprune"
    return words


def words_of_the_pod() -> list[str]:
    (container,) = pod_of(one("CronJob", "fastprune-live"))["containers"]
    words: list[str] = container["args"]
    return words


def value(words: list[str], option: str) -> str:
    """What follows an option; there is exactly one."""
    (found,) = [after for word, after in itertools.pairwise(words) if word == option]
    return found


def minutes(duration: str) -> int:
    found = re.fullmatch(r"(\d+)m", duration)
    assert found, duration
    return int(found[1])


BOTH = pytest.mark.parametrize("words", [words_of_the_unit, words_of_the_pod])


@BOTH
def test_it_asks_the_server_and_takes_small_steps(words: Any) -> None:
    line = words()
    assert parse(line) == "prune"
    assert value(line, "--server").startswith("http://")
    # An hour has room for two of them, and for the scan.
    assert minutes(value(line, "--max-duration")) <= 25
    assert int(value(line, "--max-deletes-per-second")) > 0
    assert "--max-delete-percent" in line
    assert "--yes" in line
    assert not {"--dry-run", "--force", "--allow-remove-all", "--no-lock"} & set(line)


def test_both_select_the_same() -> None:
    addresses = re.compile(r"https?://\S+")
    unit_words = [addresses.sub("URL", word) for word in words_of_the_unit()]
    pod_words = [addresses.sub("URL", word) for word in words_of_the_pod()]
    # The logs of a pod are those of the cluster, and its metrics have no collector.
    assert unit_words[: len(pod_words)] == pod_words
    assert unit_words[len(pod_words) :: 2] == ["--audit-log", "--metrics-file"]


def test_the_unit_neither_starts_nor_stops_the_server() -> None:
    live = unit("fastprune-live.service")
    names = {name for (_, name), value in live.items() if SERVER in value.split()}
    # Without the server, it does not start; it ends before the server is stopped.
    assert names == {"Requisite", "After"}
    assert live["Service", "KillMode"] == "mixed"
    assert live["Service", "SuccessExitStatus"].split() == ["3", "143"]


def test_the_unit_reaches_this_machine_and_no_other() -> None:
    live = unit("fastprune-live.service")
    assert live["Service", "IPAddressDeny"] == "any"
    assert live["Service", "IPAddressAllow"] == "localhost"
    assert "127.0.0.1" in value(words_of_the_unit(), "--server")
    # A network of its own would be without the server.
    assert ("Service", "PrivateNetwork") not in live


def test_the_unit_is_as_hard_as_that_of_the_window_but_for_the_network() -> None:
    window, live = unit("fastprune.service"), unit("fastprune-live.service")
    network = {"PrivateNetwork", "IPAddressAllow", "RestrictAddressFamilies"}
    state = {"StateDirectory", "StateDirectoryMode", "SuccessExitStatus"}
    differing = {
        name
        for section, name in window.keys() | live.keys()
        if section == "Service" and window.get((section, name)) != live.get((section, name))
    }
    assert differing == {"ExecStart"} | network | state


def test_the_unit_writes_only_where_it_may() -> None:
    live, words = unit("fastprune-live.service"), words_of_the_unit()
    assert value(words, "--image-path") == live["Service", "ReadWritePaths"]
    for option, setting, base in (
        ("--audit-log", "LogsDirectory", "/var/log"),
        ("--metrics-file", "StateDirectory", "/var/lib"),
    ):
        assert str(Path(value(words, option)).parent) == f"{base}/{live['Service', setting]}"
    # The node exporter is another user, and reads no other names.
    assert live["Service", "StateDirectoryMode"] == "0755"
    assert value(words, "--metrics-file").endswith(".prom")


def test_the_timer_starts_it_every_hour() -> None:
    timer = settings(UNITS / "fastprune-live.timer")
    assert ("Timer", "OnCalendar", "hourly") in timer
    assert ("Install", "WantedBy", "timers.target") in timer
    assert not any(name == "Unit" for _, name, _ in timer)


def test_the_cron_job_runs_every_hour_and_never_twice() -> None:
    spec = one("CronJob", "fastprune-live")["spec"]
    assert re.fullmatch(r"\d+ \* \* \* \*", spec["schedule"])
    assert spec["concurrencyPolicy"] == "Forbid"
    assert "suspend" not in spec
    job = spec["jobTemplate"]["spec"]
    assert job["backoffLimit"] == 0
    longest = minutes(value(words_of_the_pod(), "--max-duration")) * 60
    assert longest < job["activeDeadlineSeconds"] < 3600
    assert pod_of(one("CronJob", "fastprune-live"))["terminationGracePeriodSeconds"] >= 60


def test_the_pod_has_neither_rights_in_the_cluster_nor_privileges() -> None:
    pod = pod_of(one("CronJob", "fastprune-live"))
    assert pod["automountServiceAccountToken"] is False
    assert "serviceAccountName" not in pod
    assert pod["securityContext"]["runAsNonRoot"]
    assert "fsGroup" not in pod["securityContext"]
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"]


def test_the_pod_writes_to_the_cache_on_the_node_of_the_server() -> None:
    pod, window = pod_of(one("CronJob", "fastprune-live")), pod_of(one("CronJob", "fastprune"))
    look = pod_of(one("Job", "fastprune-dry-run"))
    assert pod["affinity"] == look["affinity"]
    (container,) = pod["containers"]
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    cache = mounts[value(words_of_the_pod(), "--image-path")]
    assert "readOnly" not in cache
    assert pod["volumes"][0] == window["volumes"][0]
    assert pod["securityContext"] == window["securityContext"]


def test_the_pod_remembers_scans_in_a_claim_of_its_own() -> None:
    pod = pod_of(one("CronJob", "fastprune-live"))
    (container,) = pod["containers"]
    (state,) = [one["value"] for one in container["env"] if one["name"] == STATE_VARIABLE]
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    claims = {
        volume["name"]: volume["persistentVolumeClaim"]["claimName"]
        for volume in pod["volumes"]
        if "persistentVolumeClaim" in volume
    }
    claim = one("PersistentVolumeClaim", claims[mounts[str(Path(state).parent)]])
    # The window's pod may run on another node.
    other = pod_of(one("CronJob", "fastprune"))["volumes"]
    assert claim["metadata"]["name"] not in str(other)


def kustomization(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((folder / "kustomization.yaml").read_text("utf-8"))
    return found


def test_an_operator_chooses_the_window_or_the_running_server() -> None:
    window, live = kustomization(KUBERNETES), kustomization(LIVE)
    assert live["resources"] == ["live.yaml"]
    assert not any("live" in name for name in window["resources"])
    assert live["images"] == [image for image in window["images"] if image["name"] == "fastprune"]


def test_what_runs_in_the_cluster_is_kept_on_request() -> None:
    # It needs a right, so it is not part of what everybody gets.
    assert "components" not in kustomization(LIVE)
    (patch,) = kustomization(LIVE / "keep-running")["patches"]
    changes = yaml.safe_load(patch["patch"])
    (running,) = next(one["value"] for one in changes if one["path"].endswith("/initContainers"))
    more = [one["value"] for one in changes if one["path"].endswith("/args/-")]
    line = [*words_of_the_pod(), *more]
    assert parse(line) == "prune"
    script = running["command"][2]
    # What it writes is read, in a folder that both containers have.
    assert script.endswith(f"> {value(line, '--keep-from')}")
    (container,) = pod_of(one("CronJob", "fastprune-live"))["containers"]
    assert running["volumeMounts"][0] in container["volumeMounts"]
    assert running["securityContext"] == container["securityContext"]
    # The same question as in the recipe.
    recipe = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    assert script.rpartition(" > ")[0] in recipe
    (rule,) = one("ClusterRole", "fastprune-live")["rules"]
    assert rule == {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl, to render the files")
@pytest.mark.parametrize("keep_running", [False, True])
def test_kubectl_renders_the_files(tmp_path: Path, keep_running: bool) -> None:
    folder = tmp_path / "kubernetes"
    shutil.copytree(KUBERNETES, folder)
    if keep_running:
        path = folder / "live" / "kustomization.yaml"
        text = path.read_text(encoding="utf-8")
        path.write_text(
            re.sub("^# (components:|  - keep-running)$", r"\1", text, flags=re.MULTILINE)
        )
    found = {}
    for place in (folder, folder / "live"):
        shown = subprocess.run(
            ["kubectl", "kustomize", str(place)], capture_output=True, text=True, check=True
        )
        found[place] = [
            (document["kind"], document["metadata"]["name"])
            for document in yaml.safe_load_all(shown.stdout)
        ]
    assert ("CronJob", "fastprune-window") in found[folder]
    live = [("PersistentVolumeClaim", "fastprune-live-state"), ("CronJob", "fastprune-live")]
    rights = ["ServiceAccount", "ClusterRole", "ClusterRoleBinding"] if keep_running else []
    assert found[folder / "live"] == [(kind, "fastprune-live") for kind in rights] + live


def test_the_pages_name_every_file() -> None:
    text = (ROOT / "docs" / "live.md").read_text(encoding="utf-8")
    for name in ("fastprune-live.service", "fastprune-live.timer", "live.yaml", "keep-running"):
        assert name in text
    assert "(live.md)" in (ROOT / "docs" / "scheduling.md").read_text(encoding="utf-8")


def test_the_alerts_ask_for_metrics_that_there_are() -> None:
    text = (ROOT / "docs" / "live.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (group,) = yaml.safe_load(block)["groups"]
    asked = {name for rule in group["rules"] for name in re.findall(r"fastprune_\w+", rule["expr"])}
    table = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    assert asked
    assert [name for name in asked if f"| `{name}` | " not in table] == []
