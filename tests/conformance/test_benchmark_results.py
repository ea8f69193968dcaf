"""What benchmarks/README.md claims is what the committed results say."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.cli.program import run
from tests.support.realcaches import unpack

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
RESULTS = BENCHMARKS / "results"
ORIGINAL = Path(__file__).resolve().parents[1] / "data" / "original"


@pytest.fixture(autouse=True)
def path_to_benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])


def test_the_table_of_targets_is_that_of_the_results() -> None:
    import targets

    page = (BENCHMARKS / "README.md").read_text()
    assert targets.embedded(page, targets.markdown(RESULTS)) == page


def results_with_the_original(**ratios: float | None) -> list[dict[str, Any]]:
    """The committed results, with these ratios of the original at 100,000 manifests only."""
    names = ("plan-warm.json", "plan-cold.json", "apply.json", "rules.json")
    results = [json.loads((RESULTS / name).read_text()) for name in names]
    for cache in results[0]["caches"].values():
        for name, command in cache["commands"].items():
            command.pop("original_ratio", None)
            ratio = ratios.get(name.partition(",")[0])
            if ratio and 90_000 < cache["content"]["manifests"] < 110_000:
                command["original_ratio"] = ratio
    return results


def test_the_original_has_rows_if_it_was_measured() -> None:
    import targets

    rows = [target.row for target in targets.targets(*results_with_the_original())]
    measured = list(targets.targets(*results_with_the_original(prune=24.9, list=6.1)))
    assert [target.row for target in measured[2:]] == rows
    assert [(target.wanted, target.measured, target.met) for target in measured[:2]] == [
        (25, 24.9, False),
        (6, 6.1, True),
    ]


def test_all_is_measured_with_the_original_if_it_is_given(tmp_path: Path) -> None:
    import run_all

    option = ("--ociregistry", "/opt/ociregistry")
    plain = run_all.runs(tmp_path, tmp_path, None)
    compared = run_all.runs(tmp_path, tmp_path, option[1])
    assert compared[1:] == plain[1:]
    assert [word for word in compared[0] if word not in option] == list(plain[0])
    assert option == compared[0][compared[0].index(option[0]) :][:2]


def test_a_benchmark_stops_if_the_original_answers_something_else(tmp_path: Path) -> None:
    from measure import MeasureError
    from original import check_dry_run, check_listing

    cache = unpack("pulled", tmp_path)
    ours = run("list", "--header", cache=cache).out.encode()
    theirs = (ORIGINAL / "list-pulled.txt").read_bytes()
    check_listing(ours, theirs)
    for wrong in (ours.replace(b" list ", b" image ", 1), ours.replace(b" 0.0", b" 0.2", 1)):
        with pytest.raises(MeasureError, match="ociregistry lists"):
            check_listing(wrong, theirs)
    with pytest.raises(MeasureError, match="lists 82 manifests, not 81"):
        check_listing(ours.partition(b"\n")[2], theirs)

    options = ("prune", "--pattern", "dashboard,cilium", "--dry-run")
    ours = run(*options, cache=cache).out.encode()
    theirs = (ORIGINAL / "prune-pulled-dry-run.txt").read_bytes()
    check_dry_run(ours, theirs)
    with pytest.raises(MeasureError, match="prunes 16 URLs; 1 not as fastprune"):
        check_dry_run(ours.replace(b"docker.io/kubernetesui/dashboard-web:1.6.2\n", b""), theirs)
    blob = ours.partition(b"Prune blobs (dry run):\n")[2][:65]
    check_dry_run(ours, theirs.replace(blob, b""))
    with pytest.raises(MeasureError, match="prunes 1 blobs that fastprune keeps"):
        check_dry_run(ours.replace(blob, b""), theirs)
