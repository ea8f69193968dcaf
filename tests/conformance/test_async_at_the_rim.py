"""Rule 5: async at the rim. Pure modules do no I/O, and only the rim knows an event loop."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator

import pytest
from tests.conformance.source import ROOT, dotted, imported, modules


def _pure_modules() -> tuple[str, ...]:
    """What the import contract says is pure: packages, but for the modules that it excepts."""
    settings = tomllib.loads((ROOT.parent.parent / "pyproject.toml").read_text("utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    contract = next(one for one in contracts if one["name"].startswith("Pure"))
    packages = [one.removeprefix("fastprune.") for one in contract["source_modules"]]
    excepted = [one.split(" -> ")[0] for one in contract["ignore_imports"]]
    paths = (path.removesuffix(".py").removesuffix("/__init__") for path in modules())
    return tuple(
        name
        for name in (path.replace("/", ".") for path in paths)
        if f"fastprune.{name}" not in excepted
        and any(name == one or name.startswith(f"{one}.") for one in packages)
    )


PURE = _pure_modules()
# What leads out of a process, asks a clock, or needs an event loop.
FORBIDDEN = {
    *("os", "io.open", "pathlib", "time", "logging", "subprocess", "socket", "threading"),
    *("anyio", "asyncio", "aiofiles", "uvloop", "concurrent", "multiprocessing", "signal"),
    *("tempfile", "shutil", "sys", "random", "secrets", "fcntl", "psutil", "resource"),
}
# The rim: the verbs, what carries them out, and the command line around them.
MAY_BE_ASYNC = {
    *(
        "api.py",
        "plan/files.py",
        "deletion/pruning.py",
        "deletion/batches.py",
        "deletion/phases.py",
        "deletion/journal.py",
        "deletion/held_cache.py",
        "deletion/locked_cache.py",
        "audit/audit_log.py",
        "audit/audit_file.py",
    ),
    "executors/threads.py",
    # Dask runs in an event loop.
    *("executors/dask_client.py", "executors/dask_cluster.py"),
    *("executors/dask_local.py", "executors/dask_worker.py"),
    *("server/asked.py", "server/client.py"),
    *("deletion/trashing.py", "tuning/deleting.py", "deletion/repairing.py"),
    # They ask the server that runs on the cache.
    *("guard/agreement.py", "deletion/proving.py", "deletion/healing.py"),
    *("deletion/asking.py", "deletion/live_run.py", "deletion/requests.py"),
    *("deletion/unreached.py", "deletion/leftovers.py"),
}
EVENT_LOOPS = {"anyio", "asyncio", "uvloop"}


def path_of(name: str) -> str:
    path = name.replace(".", "/")
    return f"{path}/__init__.py" if (ROOT / path).is_dir() else f"{path}.py"


def roots(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names} | names


def is_rim(name: str) -> bool:
    return name in MAY_BE_ASYNC or name.startswith("cli/")


def asynchronous(tree: ast.Module) -> Iterator[str]:
    kinds = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)
    for node in ast.walk(tree):
        if isinstance(node, kinds):
            yield f"line {node.lineno}: {type(node).__name__}"


@pytest.mark.parametrize("name", PURE)
def test_a_pure_module_does_no_io_and_knows_no_clock(name: str) -> None:
    tree = modules()[path_of(name)]
    assert not roots(imported(tree)) & FORBIDDEN
    assert not list(asynchronous(tree))
    calls = {dotted(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert not calls & {"open", "print", "input", "exec", "eval", "datetime.now", "date.today"}


@pytest.mark.parametrize("name", PURE)
def test_a_pure_module_imports_only_pure_modules(name: str) -> None:
    allowed = {"fastprune", *(f"fastprune.{pure}" for pure in PURE)}
    ours = {one for one in imported(modules()[path_of(name)]) if one.startswith("fastprune")}
    assert {one for one in ours if path_exists(one)} <= allowed


def path_exists(name: str) -> bool:
    """Whether a dotted name is a module, and not something in one."""
    return path_of(name.removeprefix("fastprune").lstrip(".") or "__init__") in modules()


@pytest.mark.parametrize("name", modules())
def test_only_the_rim_is_asynchronous(name: str) -> None:
    tree = modules()[name]
    if not is_rim(name):
        assert not list(asynchronous(tree))
        assert not roots(imported(tree)) & EVENT_LOOPS


@pytest.mark.parametrize("name", modules())
def test_no_variable_is_changed_across_an_await(name: str) -> None:
    """`x += await y` reads x before the wait and writes it after."""
    for node in ast.walk(modules()[name]):
        if isinstance(node, ast.AugAssign):
            assert not any(isinstance(inner, ast.Await) for inner in ast.walk(node.value))


@pytest.mark.parametrize("name", modules())
def test_the_library_prints_nothing_and_reads_no_environment(name: str) -> None:
    if name.startswith("cli/"):
        return
    tree = modules()[name]
    calls = {dotted(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert not calls & {"print", "input", "sys.stdout.write", "sys.stderr.write"}
    used = {dotted(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    reads = used & {"os.environ", "os.environb", "os.getenv", "os.getenvb"}
    # A worker that is started anew gets the environment as it is, and our import path.
    assert reads <= ({"os.environ"} if name == "executors/processes.py" else set())


def test_modules_that_call_themselves_pure_are_held_by_the_import_contract() -> None:
    claims = {name for name, tree in modules().items() if "Pure" in (ast.get_docstring(tree) or "")}
    checked = {path_of(name) for name in PURE}
    assert {name for name in claims if not name.startswith(("cli/", "tuning/"))} <= checked


@pytest.mark.parametrize("name", modules())
def test_a_module_says_what_it_is_for(name: str) -> None:
    text = ast.get_docstring(modules()[name]) or ""
    assert text.partition("\n")[0].endswith(".")
    if "/" not in name and name not in ("__init__.py", "__main__.py"):
        # Where it stands in the flow, what comes in, what goes out, I/O or not.
        assert "Stage: " in text
        assert "Stage: all" in text or "pure" in text.lower() or "I/O" in text
