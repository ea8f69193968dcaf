"""A prune of a sample cache, for `make demo`.

Unpacks a copy of a cache that a real ociregistry wrote (tests/data/pulled.tar.gz) into a
temporary folder, lists it, shows what a prune would remove, and prunes it.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

_CACHE = Path(__file__).parents[1] / "tests" / "data" / "pulled.tar.gz"


def main() -> int:
    """Runs the demonstration; gives the exit code of the first command that fails."""
    with tempfile.TemporaryDirectory(prefix="fastprune-demo-") as folder:
        with tarfile.open(_CACHE) as archive:
            archive.extractall(folder, filter="data")
        for arguments in (
            "list --pattern calico --format table",
            "prune --pattern calico/typha:v3.27.0 --dry-run",
            "prune --pattern calico/typha:v3.27.0",
            "list --pattern typha",
        ):
            code = _run(folder, arguments)
            if code:
                return code
    return 0


def _run(folder: str, arguments: str) -> int:
    print(f"\n$ fastprune --image-path {folder} {arguments}", flush=True)
    program = [sys.executable, "-m", "fastprune", "--image-path", folder]
    # Nothing is left of the demo: the cache is gone soon.
    environment = os.environ | {"FASTPRUNE_STATE_DIR": ""}
    words = [*program, *shlex.split(arguments)]
    return subprocess.run(words, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
