"""`python -m fastprune`."""

from __future__ import annotations

from fastprune.cli.main import main

if __name__ == "__main__":
    main()
