"""Metrics: Prometheus reads from the file what was meant."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from tests.conformance.source import ROOT

from fastprune.cli.messages import set_up_messages
from fastprune.cli.metrics_file import Note, with_metrics
from fastprune.cli.options import GlobalOptions
from fastprune.errors import NoCacheError, UnreadableManifestsError, UsageError
from fastprune.report.metrics import (
    FAMILIES,
    KEPT,
    NOTHING_DONE,
    PREFIX,
    Labels,
    RunFacts,
    parse_image_path,
    parse_kept,
    render,
)

LABELS = Labels("prune", "/var/lib/ociregistry")
VALUES: dict[str, float | Mapping[str, float]] = {
    "last_run_freed_bytes": 10_829,
    "last_run_step_duration_seconds": {"scan": 0.25, "apply": 1e-7},
}


def facts(*, exit_code: int = 0, dry_run: bool = False, labels: Labels = LABELS) -> RunFacts:
    return RunFacts(labels, "1.2.3", dry_run, exit_code, ended=1_795_729_160.25, seconds=2.5)


def samples(text: str) -> dict[str, float]:
    """Values by name without the prefix, as the parser of Prometheus' own client reads them."""
    return {
        sample.name.removeprefix(PREFIX) + sample.labels.get("step", ""): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_metric_is_typed_described_and_labelled() -> None:
    text = render(facts(), {**VALUES, **NOTHING_DONE}, {})
    families = list(text_string_to_metric_families(text))
    assert len(families) == text.count("# TYPE") == text.count("# HELP")
    for family in families:
        for sample in family.samples:
            name = sample.name.removeprefix(PREFIX)
            assert (family.type, family.documentation) == FAMILIES[name]
            assert sample.name.endswith("_total") == (family.type == "counter")
            assert sample.labels["image_path"] == LABELS.image_path
            assert sample.labels["command"] == "prune"
    assert 'version="1.2.3"' in text
    assert text.endswith("\n")


def test_values_are_what_was_noted() -> None:
    read = samples(render(facts(), VALUES, {}))
    assert read["last_run_freed_bytes"] == read["freed_bytes_total"] == 10_829
    assert read["last_run_step_duration_secondsscan"] == 0.25
    assert read["last_run_timestamp_seconds"] == 1_795_729_160.25
    assert read["last_success_timestamp_seconds"] == 1_795_729_160.25
    assert read["last_run_duration_seconds"] == 2.5
    assert "cache_blobs" not in read


@pytest.mark.parametrize(("exit_code", "dry_run"), [(3, False), (143, False), (0, True)])
def test_the_last_success_stays_if_there_is_no_new_one(exit_code: int, dry_run: bool) -> None:
    first = render(facts(), VALUES, {})
    kept = parse_kept(first, LABELS)
    assert set(kept) == set(KEPT)
    later = RunFacts(LABELS, "1.2.3", dry_run, exit_code, ended=1_795_800_000, seconds=1)
    read = samples(render(later, NOTHING_DONE, kept))
    assert read["last_success_timestamp_seconds"] == 1_795_729_160.25
    assert read["last_run_timestamp_seconds"] == 1_795_800_000
    assert read["last_run_exit_code"] == exit_code
    assert read["last_run_dry_run"] == dry_run
    assert read["freed_bytes_total"] == 10_829
    assert (read["runs_total"], read["failed_runs_total"]) == (2, exit_code != 0)


@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_any_path_is_read_back_as_it_is(path: str) -> None:
    labels = Labels("apply", path)
    text = render(facts(labels=labels), VALUES, {})
    # A line feed would end the sample; other breaks are for the parser to bear.
    (family, *_) = text_string_to_metric_families(text)
    assert family.samples[0].labels["image_path"] == path
    assert set(parse_kept(text, labels)) == set(KEPT)
    assert parse_kept(text, LABELS) == ({} if labels != LABELS else parse_kept(text, labels))


def test_a_path_that_is_no_utf_8_is_shown_by_its_bytes() -> None:
    text = render(facts(labels=Labels("prune", "/c\udcff")), {}, {})
    assert r'image_path="/c\\xff"' in text
    assert samples(text)


@pytest.mark.parametrize(
    "former",
    [
        "no metrics\n",
        f"{PREFIX}runs_total{{{LABELS.text()}}} many\n",
        f"{PREFIX}runs_total{{{LABELS.text()}}} NaN\n",
        f"{PREFIX}runs_total{{{LABELS.text()}}} -5\n",
        f"{PREFIX}runs_total{{{LABELS.text()}}} +Inf\n",
        f"{PREFIX}runs_total{{{Labels('plan', '/x').text()}}} 5\n",
    ],
)
def test_what_can_not_be_understood_counts_as_nothing(former: str) -> None:
    assert parse_kept(former, LABELS) == {}


def test_the_page_describes_every_metric() -> None:
    page = (ROOT.parents[1] / "docs" / "monitoring.md").read_text(encoding="utf-8")
    assert set(re.findall(rf"^\| `{PREFIX}(\w+)` \|", page, re.MULTILINE)) == set(FAMILIES)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    for folder in ("img", "lts", "blobs"):
        (tmp_path / "cache" / folder).mkdir(parents=True)
    return tmp_path / "cache"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "fastprune.prom"


def fine(note: Note) -> int:
    note({"last_run_freed_bytes": 7})
    return 0


@pytest.mark.parametrize("umask", [0o022, 0o077, 0])
def test_the_file_is_there_whole_for_everyone_to_read(
    umask: int, cache: Path, file: Path, tmp_path: Path
) -> None:
    before = os.umask(umask)
    try:
        assert with_metrics(str(file), "prune", str(cache), fine) == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert samples(file.read_text())["last_run_freed_bytes"] == 7
    # Nothing else is left in a folder that the node exporter reads.
    assert {path.name for path in tmp_path.iterdir()} == {"cache", "fastprune.prom"}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NoCacheError("x"), 10),
        (UnreadableManifestsError([("img/0", "empty")] * 3), 4),
        (KeyboardInterrupt(), 130),
        (SystemExit(143), 143),
        (RuntimeError("a defect"), 1),
    ],
)
def test_a_run_that_ends_badly_is_written_down_too(
    error: BaseException, code: int, cache: Path, file: Path
) -> None:
    with_metrics(str(file), "prune", str(cache), fine)
    success = samples(file.read_text())["last_success_timestamp_seconds"]

    def work(note: Note) -> int:
        raise error

    with pytest.raises(type(error)):
        with_metrics(str(file), "prune", str(cache), work)
    read = samples(file.read_text())
    assert read["last_run_exit_code"] == code
    assert read["last_success_timestamp_seconds"] == success
    assert (read["runs_total"], read["failed_runs_total"]) == (2, 1)
    assert read.get("cache_corrupt_manifests", 0) == (3 if code == 4 else 0)


def never(note: Note) -> int:
    raise AssertionError("begun")


@pytest.mark.parametrize("place", ["img/a.prom", "blobs/a.prom", "../missing/a.prom", "img"])
def test_what_can_not_be_written_is_refused_before_anything(place: str, cache: Path) -> None:
    with pytest.raises(UsageError, match="--metrics-file .* nothing was deleted"):
        with_metrics(str(cache / place), "prune", str(cache), never)


def test_a_file_of_somebody_else_is_not_replaced(cache: Path, file: Path) -> None:
    file.write_text("root:x:0:0\n")
    with pytest.raises(UsageError, match="something else"):
        with_metrics(str(file), "prune", str(cache), never)
    assert file.read_text() == "root:x:0:0\n"


def test_a_file_that_can_not_be_written_in_the_end_is_an_error_and_no_more(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_messages(GlobalOptions())
    folder = tmp_path / "metrics"
    folder.mkdir()

    def work(note: Note) -> int:
        folder.rmdir()
        return 0

    assert with_metrics(str(folder / "a.prom"), "prune", str(cache), work) == 1
    assert "can't be written" in capsys.readouterr().err
    folder.mkdir()
    assert (
        with_metrics(str(folder / "a.prom"), "prune", str(cache), lambda note: work(note) + 3) == 3
    )


def test_another_suffix_is_warned_about(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_messages(GlobalOptions())
    assert with_metrics(str(tmp_path / "metrics.txt"), "prune", str(cache), fine) == 0
    assert "names end in .prom" in capsys.readouterr().err


def test_a_link_leads_to_the_file(cache: Path, file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.prom"
    link.symlink_to(file)
    assert with_metrics(str(link), "prune", str(cache), fine) == 0
    assert link.is_symlink()
    assert samples(file.read_text())


@pytest.mark.parametrize("path", ["/srv/cache", '/a "b",c\\n', "/line\nfeed", "\\"])
def test_the_cache_of_a_file_is_read_back(path: str) -> None:
    text = render(facts(labels=Labels("prune", path)), {}, {})
    assert parse_image_path(text, "prune") == path
    assert parse_image_path(text, "plan") is None
    assert parse_image_path("something else", "prune") is None
