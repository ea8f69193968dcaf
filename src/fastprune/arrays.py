"""Steps on numpy arrays that have no name in numpy: pieces end to end, runs, pairs in one number.

Stage: index, select, report. Input and output: arrays. Pure, no I/O.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SHIFT = 32
_LOW = (1 << _SHIFT) - 1


def starts_of(lengths: NDArray[np.integer]) -> NDArray[np.int64]:
    """Where pieces of these lengths begin if they are laid end to end."""
    ends = np.cumsum(lengths, dtype=np.int64)
    return ends - lengths


def positions_in(starts: NDArray[np.integer], lengths: NDArray[np.integer]) -> NDArray[np.int64]:
    """All positions in some pieces of an array, piece after piece.

    Args:
        starts: Where each piece begins.
        lengths: How long it is.
    """
    lengths = lengths.astype(np.int64)
    shifts = starts - starts_of(lengths)
    positions: NDArray[np.int64] = np.arange(lengths.sum()) + np.repeat(shifts, lengths)
    return positions


def begins_run(values: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Which values are not the same as the one before."""
    begins = np.ones(len(values), dtype=bool)
    begins[1:] = values[1:] != values[:-1]
    return begins


def paired(first: NDArray[np.integer], second: NDArray[np.integer]) -> NDArray[np.int64]:
    """Pairs of numbers from 0 to 2^31 - 1, in one number each, which sorts as the pair does."""
    pairs: NDArray[np.int64] = first.astype(np.int64) << _SHIFT | second
    return pairs


def unpaired(pairs: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first and the second numbers of what `paired` gave."""
    return pairs >> _SHIFT, pairs & _LOW
