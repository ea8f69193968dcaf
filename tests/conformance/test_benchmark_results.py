"""What benchmarks/README.md claims is what the committed results say."""

from __future__ import annotations

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


def results_with_the_original(**ratios: float | None) -> Any:
    """The committed results, with these ratios of the original at 100,000 manifests only."""
    from targets import read_results

    results = read_results(RESULTS)
    for cache in results.warm["caches"].values():
        for name, command in cache["commands"].items():
            command.pop("original_ratio", None)
            ratio = ratios.get(name.partition(",")[0])
            if ratio and 90_000 < cache["content"]["manifests"] < 110_000:
                command["original_ratio"] = ratio
    return results


def test_the_original_has_rows_if_it_was_measured() -> None:
    import targets

    rows = [target.row for target in targets.targets(results_with_the_original())]
    measured = list(targets.targets(results_with_the_original(prune=17.9, list=4.6)))
    assert [target.row for target in measured[2:]] == rows
    assert [(target.wanted, target.measured, target.met) for target in measured[:2]] == [
        (18, 17.9, False),
        (4.5, 4.6, True),
    ]


def rescan_results(**ratios: float) -> dict[str, Any]:
    """Results of scans with memory: a ratio to a full scan for each case, at both sizes."""
    cases = {
        name: {"ratio_to_full": ratio, "ratio_to_ripgrep": 3 * ratio, "peak_bytes": 3e8, "read": 0}
        for name, ratio in ratios.items()
    }
    steps = {"a step": {"full scan": {"ratio_to_full": 1, "peak_bytes": 4e8}, **cases}}
    sizes = (100_000, 1_000_000)
    return {
        "caches": {str(size): {"content": {"manifests": size}, "steps": steps} for size in sizes}
    }


def test_scans_with_memory_have_rows_if_they_were_measured() -> None:
    import targets

    results = results_with_the_original()._replace(rescan=None, rescan_cold=None)
    before = list(targets.targets(results))
    ratios = {targets.FIRST: 1.1, targets.UNCHANGED: 0.25, targets.ALL_CHANGES: 0.34}
    warm, cold = rescan_results(**ratios), rescan_results(**{targets.UNCHANGED: 0.36})
    rows = [
        (target.wanted, target.measured, target.met)
        for target in targets.targets(results._replace(rescan=warm, rescan_cold=cold))
        if target not in before
    ]
    assert rows == [
        (0.3, 0.25, True),
        (1.3, 0.75, True),
        (0.2, 0.25, False),
        (0.7, 0.75, False),
        (0.35, 0.34, True),
        (0.35, 0.36, False),
        (1.08, 1.1, False),
        (1.08, 1.1, False),
        (350, 300, True),
    ]


def test_ten_million_manifests_have_rows_if_they_were_measured() -> None:
    import targets

    def cache(manifests: int, **steps: tuple[float, float]) -> dict[str, Any]:
        costs = {
            name: {"processor_seconds": seconds, "peak_bytes": peak}
            for name, (seconds, peak) in steps.items()
        }
        return {"manifests": manifests, "steps": costs}

    results = results_with_the_original()._replace(scale=None)
    before = list(targets.targets(results))
    scale = {
        "caches": {
            "1": cache(1_000_000, merge=(4, 3e8), plan=(1, 3e8)),
            "5": cache(5_000_000, merge=(99, 9e9), plan=(99, 9e9)),
            "10": cache(10_000_000, merge=(44, 3.3e9), plan=(15, 3e9)),
        }
    }
    rows = [
        (target.what.partition(":")[0], target.wanted, target.measured, target.met)
        for target in targets.targets(results._replace(scale=scale))
        if target not in before
    ]
    assert rows == [
        ("10M on arrays, plan", 1.3, 1.5, False),
        ("10M on arrays, merge", 3_200, 3_300, False),
    ]


def test_all_is_measured_with_the_original_if_it_is_given(tmp_path: Path) -> None:
    import run_all

    option = ("--ociregistry", "/opt/ociregistry")
    plain = run_all.runs(tmp_path, tmp_path, None)
    compared = run_all.runs(tmp_path, tmp_path, option[1])
    assert compared[1:] == plain[1:]
    assert [word for word in compared[0] if word not in option] == list(plain[0])
    assert option == compared[0][compared[0].index(option[0]) :][:2]


def test_a_changed_cache_is_put_back_even_by_the_next_benchmark(tmp_path: Path) -> None:
    from changes import Changes, every, pulled_again
    from measure import MeasureError

    def contents() -> dict[str, bytes]:
        return {
            str(path.relative_to(cache)): path.read_bytes()
            for path in cache.rglob("*")
            if path.is_file()
        }

    cache = unpack("pulled", tmp_path)
    before = contents()
    first, second, third = every(cache, 20, 0), every(cache, 20, 7), every(cache, 20, 14)
    changes = Changes(cache)
    inodes = [(cache / path).stat().st_ino for path in first]
    count = changes.pull_again(first)
    changed = {path for path, content in contents().items() if content != before[path]}
    assert count == len(changed) > 0
    assert changed <= set(first)
    assert all(contents()[path] == pulled_again(before[path]) for path in changed)
    assert [(cache / path).stat().st_ino for path in first] == inodes
    changes.take_out(second)
    changes.copy_aside((*first, *third))
    for path in third:
        (cache / path).unlink()
    assert contents().keys() == before.keys() - set(second) - set(third)
    with pytest.raises(MeasureError, match="is not as it was"):
        changes.check_put_back()

    Changes(cache)
    assert contents() == before
    changes.check_put_back()


def test_pulling_a_manifest_changes_nothing_but_its_time() -> None:
    from changes import pulled_again

    content = b'{"imageUrl":"a/b:1","created":"2025-01-01T00:00:59","pulled":"2025-01-01T00:00:59"}'
    assert pulled_again(content) == content[:-4] + b'00"}'
    assert pulled_again(content.replace(b'2025-01-01T00:00:59"}', b'"}')) is None


def test_a_benchmark_stops_if_a_run_answers_something_else() -> None:
    from bench_rescan import answer, check_same
    from measure import Command, MeasureError, peak, read_output

    expected = answer(b"Manifests: 9\nTime: 0.80 s\n")
    check_same("unchanged", expected, b"Manifests: 9\nTime: 1.20 s\n")

    def check(output: bytes) -> None:
        check_same("unchanged", expected, output)

    command = Command("unchanged", (sys.executable, "-c", "print('Manifests: 8')"), check=check)
    for measured in (read_output, peak):
        with pytest.raises(MeasureError, match="unchanged: the output is not that of a full scan"):
            measured(command)


def test_benchmarks_remember_nothing_unless_they_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from measure import Command, read_output

    monkeypatch.setenv("FASTPRUNE_STATE_DIR", "/from/outside")
    argv = (sys.executable, "-c", "import os; print(os.environ['FASTPRUNE_STATE_DIR'])")
    assert read_output(Command("without", argv)) == b"\n"
    assert read_output(Command("with", argv, state="/here")) == b"/here\n"


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
