"""What `verify` checks: options to `VerifyOptions`."""

from __future__ import annotations

import dataclasses
import os
from datetime import datetime
from typing import TYPE_CHECKING

from fastprune.cli.headings import CHECKS
from fastprune.cli.options import flag, option
from fastprune.errors import UsageError
from fastprune.text.quantities import parse_percentage

if TYPE_CHECKING:
    from fastprune.scanning.content_since import Since
    from fastprune.scanning.scanner import ScanOptions
    from fastprune.verification.verifier import VerifyOptions

_SEED_BYTES = 4
_LARGEST_SEED = 2**64 - 1


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """What is checked."""

    content: bool = flag(
        "--content", CHECKS, "Read blobs too, and compare the sha256 with the name."
    )
    content_since: str | None = option(
        "--content-since DATE|last",
        CHECKS,
        "With --content: skip blobs that were found sound since then and have not changed; last: "
        "go on with the last run.",
    )
    sample: str | None = option(
        "--sample N%", CHECKS, "With --content: read only a random part of the blobs."
    )
    seed: int | None = option(
        "--seed N",
        CHECKS,
        "The number that chooses the sample. Default: random; the report says which.",
        min=0,
    )


def verify_options_of(scan: ScanOptions, checks: CheckOptions) -> VerifyOptions:
    """How the options say to verify."""
    from fastprune.verification.verifier import VerifyOptions

    if checks.content_since is not None and not checks.content:
        raise UsageError("--content-since has an effect only with --content: give both")
    if checks.sample is not None and not checks.content:
        raise UsageError("--sample has an effect only with --content: give both")
    if checks.seed is not None and checks.sample is None:
        raise UsageError("--seed has an effect only with --sample: give both")
    if checks.seed is not None and checks.seed > _LARGEST_SEED:
        raise UsageError(f"--seed {checks.seed}: at most {_LARGEST_SEED}")
    seed = int.from_bytes(os.urandom(_SEED_BYTES)) if checks.seed is None else checks.seed
    return VerifyOptions(
        scan=scan,
        content=checks.content,
        sample=parse_percentage(checks.sample, "--sample") if checks.sample else 1,
        seed=seed,
        content_since=_since_of(checks.content_since),
    )


def _since_of(text: str | None) -> Since:
    """The value of --content-since: `last`, or a time on the clock of this machine."""
    if text is None:
        return None
    from fastprune.policy.criteria import parse_cutoff
    from fastprune.scanning.content_since import LAST

    if text == LAST:
        return LAST

    # If a clock was put back, an hour came twice: the later moment, which skips less.
    return datetime.fromisoformat(parse_cutoff(text, "--content-since")).replace(fold=1)
