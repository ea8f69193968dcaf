"""The files in packaging/: units, manifests of Kubernetes and the script of the window."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.command_lines import parse
from tests.support.packaging import KUBERNETES, ROOT, UNITS, one, pod_of, settings

from fastprune.cli.state_folder import ROOTS_FOLDER, STATE_VARIABLE


def test_the_unit_runs_a_prune_that_ends_in_time() -> None:
    unit = settings(UNITS / "fastprune.service")
    (start,) = [value for _, name, value in unit if name == "ExecStart"]
    program, *words = shlex.split(start)
    assert program == "/usr/local/bin/fastprune"
    assert parse(words) == "prune"
    assert "--max-duration" in words
    assert "--dry-run" not in words


def test_the_unit_stops_the_server_and_brings_it_back_however_it_ends() -> None:
    unit = {
        (section, name): value for section, name, value in settings(UNITS / "fastprune.service")
    }
    server = "ociregistry.service"
    assert unit["Unit", "Conflicts"] == server
    # Without an order, the server would be stopped while the prune begins.
    assert server in unit["Unit", "After"].split()
    assert unit["Unit", "OnSuccess"] == unit["Unit", "OnFailure"] == server
    # SIGTERM must not reach the workers before the one that ends them.
    assert unit["Service", "KillMode"] == "mixed"
    # The check for running servers looks at the processes of others.
    assert ("Service", "ProtectProc") not in unit


def test_the_unit_remembers_scans_in_a_folder_that_nobody_else_may_write() -> None:
    unit = settings(UNITS / "fastprune.service")
    service = {name: value for section, name, value in unit if section == "Service"}
    assert service["CacheDirectoryMode"] == "0700"
    folder = service["CacheDirectory"]
    # systemd gives its folder to the user of the unit, and root would not believe that one.
    assert f"/var/cache/{folder}" != ROOTS_FOLDER
    # The specifier is the folder above it (systemd.unit(5)). The sandbox makes it writable.
    assert ("Service", "Environment", f"{STATE_VARIABLE}=%C/{folder}") in unit
    assert not any("/var/cache" in value for _, name, value in unit if name == "ReadWritePaths")


def test_the_timer_starts_the_unit_of_its_own_name() -> None:
    timer = settings(UNITS / "fastprune.timer")
    assert ("Install", "WantedBy", "timers.target") in timer
    assert any(name == "OnCalendar" for _, name, _ in timer)
    assert not any(name == "Persistent" for _, name, _ in timer)


PODS = [("CronJob", "fastprune"), ("CronJob", "fastprune-window"), ("Job", "fastprune-dry-run")]


@pytest.mark.parametrize(("kind", "name"), PODS)
def test_pods_have_no_privileges(kind: str, name: str) -> None:
    pod = pod_of(one(kind, name))
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert not container["securityContext"]["allowPrivilegeEscalation"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["resources"]["limits"]["memory"]


def test_the_dry_run_shows_what_the_prune_would_do() -> None:
    (prune,) = pod_of(one("CronJob", "fastprune"))["containers"]
    (look,) = pod_of(one("Job", "fastprune-dry-run"))["containers"]
    assert parse(prune["args"]) == parse(look["args"]) == "prune"
    assert "--dry-run" not in prune["args"]
    limits = ["--max-duration", "2h", "--summary"]
    assert [word for word in prune["args"] if word not in limits] == [
        word for word in look["args"] if word != "--dry-run"
    ]
    assert [mount.get("readOnly") for mount in look["volumeMounts"]] == [True, None]


def test_the_prune_remembers_scans_in_a_folder_that_nobody_else_may_write() -> None:
    pod = pod_of(one("CronJob", "fastprune"))
    (container,) = pod["containers"]
    (state,) = [one["value"] for one in container["env"] if one["name"] == STATE_VARIABLE]
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    # The root of a volume has the permissions that its driver gives. fastprune makes the folder in
    # it, for its user alone.
    mount = str(Path(state).parent)
    assert mount in mounts
    claims = {
        volume["name"]: volume["persistentVolumeClaim"]["claimName"]
        for volume in pod["volumes"]
        if "persistentVolumeClaim" in volume
    }
    claim = claims[mounts[mount]]
    assert claim == one("PersistentVolumeClaim", "fastprune-state")["metadata"]["name"]
    assert claim != claims[mounts["/var/lib/ociregistry"]]
    kustomization = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text("utf-8"))
    assert "state.yaml" in kustomization["resources"]


@pytest.mark.parametrize(("kind", "name"), PODS)
def test_no_pod_lets_a_group_write_to_its_volumes(kind: str, name: str) -> None:
    assert "fsGroup" not in pod_of(one(kind, name))["securityContext"]


def test_the_dry_run_of_kubernetes_remembers_nothing() -> None:
    (look,) = pod_of(one("Job", "fastprune-dry-run"))["containers"]
    assert {"name": STATE_VARIABLE, "value": ""} in look["env"]


def test_the_prune_never_starts_by_itself_nor_twice() -> None:
    spec = one("CronJob", "fastprune")["spec"]
    assert spec["suspend"]
    assert spec["jobTemplate"]["spec"]["backoffLimit"] == 0
    assert one("CronJob", "fastprune-window")["spec"]["concurrencyPolicy"] == "Forbid"


def test_the_window_may_do_what_its_script_does() -> None:
    allowed = {
        (resource, verb)
        for rule in one("Role", "fastprune")["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert {
        ("deployments", "get"),
        ("deployments", "patch"),
        ("deployments/scale", "patch"),
        ("pods", "list"),
        ("cronjobs", "get"),
        ("jobs", "create"),
        ("jobs", "get"),
        ("jobs", "delete"),
    } <= allowed
    account = pod_of(one("CronJob", "fastprune-window"))["serviceAccountName"]
    assert account == one("ServiceAccount", "fastprune")["metadata"]["name"]


# A cluster as a folder: files named `server`, `prune` and `broken` hold for how many more
# questions the server's pods and the prune's are there, and how many changes still fail;
# `working` for how many the prune has no outcome, `unreachable` and `undeletable` what fails.
CLUSTER = r"""#!/bin/sh
cd "$CLUSTER"
ask() { # one less; fails at zero
  left=$(cat "$1" 2>/dev/null || echo 0)
  [ "$left" -gt 0 ] && echo $((left - 1)) > "$1"
}
echo "$*" >> calls
case "$*" in
  "get deployment/ociregistry "*) ! ask unreachable || exit 1 ;;
esac
case "$*" in
  *annotations.fastprune-replicas*) cat annotation 2>/dev/null || true ;;
  *spec.replicas*) printf 2 ;;
  "get pods --selector app=ociregistry"*) ! ask server || echo pod/ociregistry-1 ;;
  "get pods --selector job-name=fastprune-run"*) ! ask prune || echo pod/fastprune-run-1 ;;
  "get job fastprune-run"*) ask working || cat outcome ;;
  "delete job "*) ! ask undeletable || exit 1 ;;
  "scale deployment/ociregistry --replicas=0") ;;
  "scale "*) ! ask broken || exit 1 ;;
esac
"""
DELETE = "delete job fastprune-run --ignore-not-found --cascade=foreground --wait"
CREATE = "create job fastprune-run --from=cronjob/fastprune"
DOWN = "scale deployment/ociregistry --replicas=0"
UP = "scale deployment/ociregistry --replicas=2"


class Window:
    """The script of the window, in a simulated cluster."""

    def __init__(self, folder: Path, **state: str) -> None:
        self.folder = folder
        programs = folder / "bin"
        programs.mkdir()
        for name, text in {"kubectl": CLUSTER, "sleep": "#!/bin/sh\n"}.items():
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        for name, value in {"outcome": "Complete", **state}.items():
            (folder / name).write_text(value)
        script = folder / "window.sh"
        script.write_text(one("ConfigMap", "fastprune-window")["data"]["window.sh"])
        (container,) = pod_of(one("CronJob", "fastprune-window"))["containers"]
        variables = {variable["name"]: variable["value"] for variable in container["env"]}
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        self.process = subprocess.Popen(
            ["sh", str(script)],
            env=variables | {"PATH": path, "CLUSTER": str(folder)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def calls(self) -> list[str]:
        """What it asked of the cluster, without questions."""
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if not line.startswith("get ")]

    def end(self) -> tuple[int, str]:
        """Waits for its end; gives exit code and errors."""
        _, errors = self.process.communicate(timeout=30)
        return self.process.returncode, errors


def test_the_window_scales_down_prunes_and_scales_up(tmp_path: Path) -> None:
    window = Window(tmp_path, server="3", working="2")
    assert window.end() == (0, "")
    assert window.calls() == [
        DELETE,
        "annotate --overwrite deployment/ociregistry fastprune-replicas=2",
        DOWN,
        CREATE,
        UP,
        "annotate deployment/ociregistry fastprune-replicas-",
    ]
    questions = (tmp_path / "calls").read_text().splitlines()
    asked = [line.startswith("get pods --selector app=ociregistry") for line in questions]
    # Until the server's pods were gone, and then no more.
    assert sum(asked) == 4
    assert questions[asked.index(True) + 4] == CREATE


def test_the_window_scales_up_when_the_prune_failed(tmp_path: Path) -> None:
    window = Window(tmp_path, outcome="Failed", prune="3")
    code, errors = window.end()
    assert (code, "the prune failed" in errors) == (3, True)
    assert window.calls()[-3:-1] == [CREATE, UP]
    # The server starts only after the pod of the prune has ended.
    assert (tmp_path / "prune").read_text().strip() == "0"


def test_the_window_scales_up_when_the_server_does_not_go(tmp_path: Path) -> None:
    window = Window(tmp_path, server="100000")
    code, errors = window.end()
    assert (code, "pod/ociregistry-1" in errors) == (3, True)
    assert CREATE not in window.calls()
    assert window.calls()[-2] == UP


def test_the_window_tries_until_the_server_is_back(tmp_path: Path) -> None:
    window = Window(tmp_path, broken="4")
    assert window.end()[0] == 0
    assert window.calls().count(UP) == 5


def test_a_window_after_a_lost_one_scales_up_though_the_cluster_is_slow_to_answer(
    tmp_path: Path,
) -> None:
    state = {"annotation": "5", "working": "100000", "unreachable": "3", "undeletable": "3"}
    window = Window(tmp_path, **state)
    code, _ = window.end()
    # Another code than that of a failed prune, so that the window is tried again.
    assert code == 1
    # The prune that the lost one left is ended before the server comes back.
    assert window.calls()[:-1] == [DELETE] * 4 + ["scale deployment/ociregistry --replicas=5"]


def test_a_window_that_is_stopped_ends_the_prune_before_it_scales_up(tmp_path: Path) -> None:
    window = Window(tmp_path, working="100000")
    deadline = time.monotonic() + 30
    while CREATE not in window.calls():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    window.process.send_signal(signal.SIGTERM)
    assert window.end()[0] == 143
    assert window.calls()[-3:-1] == [DELETE, UP]


def test_a_window_after_one_that_was_killed_knows_the_number_of_replicas(tmp_path: Path) -> None:
    window = Window(tmp_path, annotation="5")
    assert window.end()[0] == 0
    assert "scale deployment/ociregistry --replicas=5" in window.calls()


def test_what_the_containerfile_copies_is_there() -> None:
    text = (ROOT / "packaging" / "Containerfile").read_text(encoding="utf-8")
    lines = [line.split() for line in text.splitlines() if line.startswith("COPY ")]
    copied = [source for line in lines if "--from=build" not in line for source in line[1:-1]]
    assert "src" in copied
    assert all((ROOT / source).exists() for source in copied)
    # Not root, and nothing but the program.
    assert "\nUSER 65532:65532\n" in text
    assert 'ENTRYPOINT ["/opt/fastprune/bin/fastprune"]' in text


def test_the_description_of_the_schedules_runs_what_they_run() -> None:
    text = (ROOT / "docs" / "scheduling.md").read_text(encoding="utf-8")
    for path in sorted(KUBERNETES.glob("*.yaml")):
        assert f"`{path.name}`" in text


# Stand-ins for the programs that the script for cron calls: they write down each call.
SYSTEMCTL = r"""#!/bin/sh
echo "systemctl $*" >> "$CALLS"
case $1 in is-active) [ "$ACTIVE" = yes ] ;; esac
"""
PRUNE = r"""#!/bin/sh
trap 'echo ended >> "$CALLS"; exit 143' TERM
echo prune >> "$CALLS"
n=0
while [ $n -lt "$ROUNDS" ]; do sleep 0.02; n=$((n + 1)); done
exit "$CODE"
"""
CRON = ROOT / "packaging" / "cron" / "fastprune-window"


def cron(folder: Path, *, active: str = "yes", code: int = 0, long: bool = False) -> Any:
    """Starts the script for cron, with stand-ins for what it starts."""
    for name, text in {"systemctl": SYSTEMCTL, "fastprune": PRUNE}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    variables = {
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "CALLS": str(folder / "calls"),
        "ACTIVE": active,
        "CODE": str(code),
        "ROUNDS": "100000" if long else "0",
    }
    return subprocess.Popen(["sh", str(CRON)], env=variables)


def calls_of(folder: Path) -> list[str]:
    path = folder / "calls"
    return path.read_text().splitlines() if path.exists() else []


STOP, START = "systemctl stop ociregistry", "systemctl start ociregistry"


@pytest.mark.parametrize("code", [0, 3, 4])
def test_cron_starts_the_server_again_whatever_became_of_the_prune(
    tmp_path: Path, code: int
) -> None:
    assert cron(tmp_path, code=code).wait(30) == code
    assert calls_of(tmp_path)[1:] == [STOP, "prune", START]


def test_cron_starts_no_server_that_was_not_running(tmp_path: Path) -> None:
    assert cron(tmp_path, active="no").wait(30) == 0
    assert calls_of(tmp_path)[1:] == [STOP, "prune"]


def test_cron_passes_a_signal_on_and_starts_the_server_when_the_prune_has_ended(
    tmp_path: Path,
) -> None:
    with cron(tmp_path, long=True) as process:
        deadline = time.monotonic() + 30
        while "prune" not in calls_of(tmp_path):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143
    assert calls_of(tmp_path)[1:] == [STOP, "prune", "ended", START]


def test_cron_prunes_with_options_of_the_program() -> None:
    text = CRON.read_text(encoding="utf-8").replace("\\\n", " ")
    (line,) = [line for line in text.splitlines() if line.startswith("fastprune ")]
    assert parse(shlex.split(line.rstrip("& "))[1:]) == "prune"
