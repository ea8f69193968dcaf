"""`python -m fastprune`."""

from __future__ import annotations

from fastprune.cli import main

if __name__ == "__main__":
    main()
