"""Rule 1: one module deletes in a cache, and none writes to it.

The test reads the source. A call that could change a file must be in `deletion/deleter.py`, or must
be named here, with the reason why it can't harm a cache.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest
from tests.conformance.source import dotted, imported, modules

# Functions of the standard library that change what is on disk.
CHANGING = {
    "os": {
        *("unlink", "remove", "rmdir", "removedirs", "rename", "renames", "replace", "truncate"),
        *("ftruncate", "link", "symlink", "mkdir", "makedirs", "mknod", "mkfifo", "chmod"),
        *("fchmod", "lchmod", "chown", "fchown", "lchown", "utime", "setxattr", "removexattr"),
        *("write", "pwrite", "writev", "pwritev", "sendfile", "splice", "copy_file_range"),
        *("posix_fallocate", "fdopen", "system", "popen", "mkdtemp"),
        *("O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND", "O_TMPFILE"),
    },
    "shutil": {"rmtree", "move", "copy", "copy2", "copyfile", "copytree", "chown"},
    "tempfile": {"mkstemp", "mkdtemp", "NamedTemporaryFile", "TemporaryFile"},
    "logging": {"FileHandler", "basicConfig"},
    "mmap": {"mmap"},
}
# Methods of paths, on whatever object they are called; `replace` is checked more closely.
METHODS = {
    *("unlink", "rmdir", "rename", "touch", "mkdir", "write_bytes", "write_text", "chmod"),
    *("symlink_to", "hardlink_to", "truncate", "lchmod"),
}
MODULES_THAT_WRITE = {"tempfile", "mmap", "aiofiles", "ctypes", "fileinput", "sqlite3"}

# What may stay, and why.
EXCEPTIONS = {
    "deletion/deleter.py": {"os.unlink", "os.rename", "os.link", "os.mkdir", "os.rmdir"},
    # The audit log that --audit-log names, which can't lie in a folder of the cache.
    "audit/audit_log.py": {"aiofiles", "open('ab')"},
    "audit/audit_file.py": {"os.O_WRONLY", "os.O_CREAT", "os.O_APPEND"},
    # /dev/null in place of standard streams that the caller closed.
    "cli/main.py": {"open(mode)", "os.O_RDWR"},
    # The log file that --log-file names.
    "cli/messages.py": {"logging.FileHandler"},
    # /dev/null in place of a stdout that went away; and mallopt, which is about memory only.
    "cli/session.py": {"os.O_WRONLY", "ctypes"},
    # The folder of the user's own settings, in ~/.config.
    "cli/tuned_defaults.py": {"os.makedirs"},
    # Plans, settings, metrics and pages, in files that are in no folder of the cache.
    "whole_files.py": {
        *("os.O_WRONLY", "os.O_CREAT", "open('wb')"),
        *("os.replace", "os.unlink", "os.fchmod"),
    },
    # Remembered scans, in a folder that can't lie in the cache: maps one to read it, notes that it
    # was used, and removes old ones.
    "scanning/store.py": {"os.makedirs", "os.unlink", "os.utime", "mmap", "mmap.mmap"},
    # Files of its own, in a folder of its own, made to be deleted.
    "tuning/scratch.py": {
        "os.O_WRONLY",
        "os.O_CREAT",
        "os.mkdir",
        "os.rmdir",
        "os.posix_fallocate",
        "os.write",
    },
}


def changes(tree: ast.Module) -> Iterator[str]:
    """Everything in a module that could change a file."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute():
                yield from _of_module(dotted(node))
            case ast.ImportFrom(module=str(module), names=names):
                for alias in names:
                    yield from _of_module(f"{module}.{alias.name}")
                if module in MODULES_THAT_WRITE:
                    yield module
            case ast.Import(names=names):
                yield from (alias.name for alias in names if alias.name in MODULES_THAT_WRITE)
            case ast.Call():
                yield from _of_call(node)


def _of_module(name: str) -> Iterator[str]:
    module, _, attribute = name.rpartition(".")
    if attribute in CHANGING.get(module, ()):
        yield name


def _of_call(call: ast.Call) -> Iterator[str]:
    name = dotted(call.func)
    match call:
        case ast.Call(func=ast.Name("getattr"), args=[module, ast.Constant(str(attribute)), *_]):
            yield from _of_module(f"{dotted(module)}.{attribute}")
    if isinstance(call.func, ast.Attribute):
        method = call.func.attr
        if method in METHODS and not name.startswith("os."):
            yield f".{method}()"
        # Path.replace takes one argument, str.replace at least two, others take keywords.
        if method == "replace" and len(call.args) == 1 and not call.keywords:
            yield name if name == "os.replace" else ".replace()"
    if name in ("open", "io.open", "os.fdopen", "anyio.open_file") or name.endswith(".open"):
        yield from _of_mode(call)


def _of_mode(call: ast.Call) -> Iterator[str]:
    modes = [keyword.value for keyword in call.keywords if keyword.arg == "mode"]
    if dotted(call.func) not in ("os.open", "self._open"):
        modes += call.args[1:2]
    for mode in modes:
        if not isinstance(mode, ast.Constant) or set(str(mode.value)) & set("wax+"):
            yield f"open({ast.unparse(mode)})"


@pytest.mark.parametrize("name", modules())
def test_a_module_changes_no_file(name: str) -> None:
    assert set(changes(modules()[name])) == EXCEPTIONS.get(name, set())


def test_the_deleter_knows_neither_plans_nor_what_is_in_a_file() -> None:
    """It is given names and checks; the rest of the house is none of its business."""
    ours = imported(modules()["deletion/deleter.py"])
    rooms = {name.split(".")[1] for name in ours if name.startswith("fastprune.")}
    assert rooms <= {"deletion", "errors", "layouts", "reading", "whole_files"}


def test_every_exception_is_a_module() -> None:
    assert set(EXCEPTIONS) <= set(modules())


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import os\nos.unlink('x')", {"os.unlink"}),
        ("from os import unlink as harmless", {"os.unlink"}),
        ("getattr(os, 'rmdir')('x')", {"os.rmdir"}),
        ("remove = os.remove", {"os.remove"}),
        ("import shutil\nshutil.rmtree('x')", {"shutil.rmtree"}),
        ("from tempfile import mkstemp", {"tempfile", "tempfile.mkstemp"}),
        ("Path('x').unlink()", {".unlink()"}),
        ("path.replace(other)", {".replace()"}),
        ("os.replace('a', 'b')", {"os.replace"}),
        ("open('x', 'w')", {"open('w')"}),
        ("open('x', mode='r+b')", {"open('r+b')"}),
        ("open('x', mode)", {"open(mode)"}),
        ("os.open('x', os.O_RDWR | os.O_CREAT)", {"os.O_RDWR", "os.O_CREAT"}),
        # Calls that only look like it.
        ("text.replace('a', 'b')", set()),
        ("replace(plan, blobs=blobs)", set()),
        ("moment.replace(microsecond=0)", set()),
        ("open('x')", set()),
        ("open('x', 'rb')", set()),
        ("os.open('x', os.O_RDONLY)", set()),
        ("names.remove('x')", set()),
        ("raw.decode('utf-8', 'replace')", set()),
        ("getattr(os, 'O_NOATIME', 0)", set()),
    ],
)
def test_the_test_sees_what_changes_files(source: str, found: set[str]) -> None:
    assert set(changes(ast.parse(source))) == found
