"""Measures deleting: a real prune in which nearly everything goes, against `rm` and `find`.

Usage: ``python benchmarks/bench_apply.py [--files 5000] [--kinds 4k,1m] [--concurrency 1,16]``

Every run deletes fresh files: equal copies of a cache for all runs are written and flushed first,
and nothing is deleted before all of them are there, since ext4 creates files slowly for some
time after a deletion. After every prune exactly the files of the kept images must be left.

A prune that remembers its scan does not read a manifest again before it goes. With the largest
number of threads, it is measured beside one that remembers nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from content import (
    CONFIG_TYPES,
    LAYER_TYPES,
    MEDIA_TYPES,
    OCI_IMAGE,
    ManifestFile,
    blob_digest,
    descriptor,
    make_document,
    manifest_bytes,
)
from measure import (
    Command,
    MeasureError,
    Run,
    describe_machine,
    exit_code_of,
    fastprune_argv,
    run,
    save_json,
    show_machine,
    table,
)

KINDS = {"empty": 0, "4k": 4096, "1m": 1 << 20}
LARGE = 1 << 16  # bytes from which a copy has fewer files
BLOBS_PER_IMAGE = 9
KEPT_IMAGES = 5
FOLDERS = ("img", "lts", "blobs")
REMOVE = "rm -rf"
REMEMBERED = "remembered"
STATE = "state"
# Of a file that changed so shortly before a scan, nothing is remembered. A second is added.
RACY_SECONDS = 2 + 1


@dataclass(frozen=True, slots=True)
class Content:
    """The files of every copy of a cache, by folder and name.

    Attributes:
        manifests: Manifest files.
        blobs: Names of the blobs.
        kept: Paths of the files that a prune must leave.
        blob_size: Bytes of every blob.
    """

    manifests: dict[str, bytes]
    blobs: list[str]
    kept: frozenset[str]
    blob_size: int

    @property
    def removed(self) -> int:
        """How many files a prune deletes."""
        return len(self.manifests) + len(self.blobs) - len(self.kept)


@dataclass(frozen=True, slots=True)
class Deletion:
    """One timed deletion of one copy.

    Attributes:
        run: The whole program.
        apply: Seconds of fastprune's deletion phase, where it reports them.
    """

    run: Run
    apply: float | None


def make_content(files: int, blob_size: int) -> Content:
    """Works out a cache in which about `files` files go and a few images stay."""
    images = max(1, files // (BLOBS_PER_IMAGE + 1))
    manifests: dict[str, bytes] = {}
    blobs: list[str] = []
    kept: set[str] = set()
    for number in range(images + KEPT_IMAGES):
        stays = number < KEPT_IMAGES
        own = [blob_digest("apply", number, place) for place in range(BLOBS_PER_IMAGE)]
        content = {
            "schemaVersion": 2,
            "mediaType": MEDIA_TYPES[OCI_IMAGE],
            "config": descriptor(CONFIG_TYPES[True], own[0], blob_size),
            "layers": [descriptor(LAYER_TYPES[True], digest, blob_size) for digest in own[1:]],
        }
        document = make_document(content, OCI_IMAGE, own=tuple(own))
        url = f"registry.example.org/{'stays' if stays else 'goes'}/app:{number}"
        moment = "2025-01-01T00:00:00"
        file = ManifestFile("img", url, document, created=moment, pulled=moment)
        manifests[f"img/{document.digest}"] = manifest_bytes(file)
        blobs += [f"blobs/{digest}" for digest in own]
        if stays:
            kept.update((f"img/{document.digest}", *(f"blobs/{digest}" for digest in own)))
    return Content(manifests, blobs, frozenset(kept), blob_size)


def write_copy(content: Content, root: Path) -> None:
    """Writes one copy of a cache, with real blocks on the disk."""
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True)
    body = os.urandom(content.blob_size)
    for name, manifest in content.manifests.items():
        (root / name).write_bytes(manifest)
    for name in content.blobs:
        (root / name).write_bytes(body)


def check_left(content: Content, root: Path) -> None:
    """Makes sure that exactly the right files are left."""
    left = {f"{folder}/{name}" for folder in FOLDERS for name in os.listdir(root / folder)}
    if left != content.kept:
        extra, missing = len(left - content.kept), len(content.kept - left)
        raise MeasureError(f"{root}: {extra} files too many are left, {missing} are missing")


def make_commands(fastprune: tuple[str, ...], concurrency: list[str], root: Path) -> list[Command]:
    """The commands to measure; the place of each in the list is the name of its copy."""
    commands = [
        Command(REMOVE, ("rm", "-rf", str(root / "0"))),
        Command("find -delete", ("find", str(root / "1"), "-type", "f", "-delete")),
    ]
    most = max(concurrency, key=int)
    states = [(limit, "") for limit in concurrency] + [(most, str(root / STATE))]
    for limit, state in states:
        cache = str(root / str(len(commands)))
        selection = ("--pattern", "/goes/", "--concurrency", limit)
        output = ("--yes", "--summary", "--format", "json")
        argv = (*fastprune, "--image-path", cache, "prune", *selection, *output)
        name = f"fastprune, {limit}, {REMEMBERED}" if state else f"fastprune, {limit}"
        commands.append(Command(name, argv, state=state))
    return commands


def delete(content: Content, command: Command, copy: Path) -> Deletion:
    """Times one command on its copy, and checks what it left."""
    os.sync()
    if command.name in (REMOVE, "find -delete"):
        return Deletion(run(command), None)
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "report.json"
        took = run(command, output)
        report: dict[str, Any] = json.loads(output.read_bytes())
    check_left(content, copy)
    seconds = report.get("seconds", {}).get("apply")
    return Deletion(took, float(seconds) if seconds else None)


def write_copies(content: Content, commands: int, rounds: int, work: Path) -> None:
    """Writes a copy for every run of every command."""
    for number in range(rounds):
        for place in range(commands):
            write_copy(content, work / str(number) / str(place))


def measure_kind(
    content: Content, fastprune: tuple[str, ...], concurrency: list[str], rounds: int, work: Path
) -> dict[str, Any]:
    """Deletes all copies, the commands in turn and in another order each round."""
    deletions: dict[str, list[Deletion]] = {}
    for number in range(rounds):
        root = work / str(number)
        commands = make_commands(fastprune, concurrency, root)
        for step in range(len(commands)):
            place = (number + step) % len(commands)
            done = delete(content, commands[place], root / str(place))
            deletions.setdefault(commands[place].name, []).append(done)
    return summarise(content, {command.name: deletions[command.name] for command in commands})


def summarise(content: Content, deletions: dict[str, list[Deletion]]) -> dict[str, Any]:
    """Medians, and ratios to `rm` within each round: above one is faster than `rm`."""
    everything = len(content.manifests) + len(content.blobs)
    rm_rates = [everything / deletion.run.seconds for deletion in deletions[REMOVE]]
    results: dict[str, Any] = {}
    for name, done in deletions.items():
        files = content.removed if name.startswith("fastprune") else everything
        rates = [files / deletion.run.seconds for deletion in done]
        result: dict[str, Any] = {
            "files": files,
            "seconds": statistics.median(deletion.run.seconds for deletion in done),
            "files_per_second": statistics.median(rates),
            "ratio_to_rm": _median_ratio(rates, rm_rates),
            "runs": [deletion.run.seconds for deletion in done],
        }
        applied = [files / deletion.apply for deletion in done if deletion.apply]
        if len(applied) == len(done):
            result["apply_runs"] = [deletion.apply for deletion in done]
            result["apply_files_per_second"] = statistics.median(applied)
            result["apply_ratio_to_rm"] = _median_ratio(applied, rm_rates)
        results[name] = result
    return results


def _median_ratio(rates: list[float], others: list[float]) -> float:
    return statistics.median(mine / its for mine, its in zip(rates, others, strict=True))


def show_kind(kind: str, content: Content, results: dict[str, Any]) -> str:
    """The table of one kind of blobs."""
    rows = []
    for name, result in results.items():
        applied = "apply_files_per_second" in result
        rows.append(
            (
                name,
                f"{result['seconds']:.3f}",
                f"{result['files_per_second']:,.0f}",
                f"{result['ratio_to_rm']:.2f}",
                f"{result['apply_files_per_second']:,.0f}" if applied else "",
                f"{result['apply_ratio_to_rm']:.2f}" if applied else "",
            )
        )
    headings = ("command", "seconds", "files/s", "x rm", "apply files/s", "apply x rm")
    return f"blobs: {kind}, {content.removed:,} files go\n\n{table(headings, rows)}\n"


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--files", type=int, default=5_000, help="files of a copy (5000)")
    parser.add_argument(
        "--large-files", type=int, default=200, help="files of a copy with 1 MiB blobs (200)"
    )
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"of {', '.join(KINDS)}")
    parser.add_argument("--concurrency", default="1,16", metavar="N,N")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()), metavar="DIR")
    parser.add_argument("--fastprune", metavar="PATH")
    parser.add_argument("--json", type=Path, metavar="FILE", help="save the results")
    arguments = parser.parse_args()
    arguments.kinds = arguments.kinds.split(",")
    unknown = set(arguments.kinds) - KINDS.keys()
    if unknown:
        parser.error(f"--kinds: {', '.join(sorted(unknown))}")
    return arguments


def run_benchmark(arguments: argparse.Namespace) -> None:
    """Measures every kind and reports."""
    arguments.work.mkdir(parents=True, exist_ok=True)
    fastprune = fastprune_argv(arguments.fastprune)
    machine = describe_machine(arguments.work)
    results: dict[str, Any] = {"machine": machine, "kinds": {}}
    print(f"{show_machine(machine)}\nmedians of {arguments.runs} runs\n")
    concurrency = arguments.concurrency.split(",")
    work = Path(tempfile.mkdtemp(prefix="fastprune-apply-", dir=arguments.work))
    try:
        contents = {}
        for kind in arguments.kinds:
            files = arguments.large_files if KINDS[kind] >= LARGE else arguments.files
            contents[kind] = make_content(files, KINDS[kind])
            commands = len(make_commands(fastprune, concurrency, work))
            write_copies(contents[kind], commands, arguments.runs, work / kind)
        time.sleep(RACY_SECONDS)
        for kind, content in contents.items():
            measured = measure_kind(content, fastprune, concurrency, arguments.runs, work / kind)
            results["kinds"][kind] = measured
            print(show_kind(kind, content, measured), flush=True)
    finally:
        shutil.rmtree(work)
    if arguments.json:
        save_json(arguments.json, results)


if __name__ == "__main__":
    sys.exit(exit_code_of("bench_apply", lambda: run_benchmark(parse_arguments())))
