"""Steps on arrays that numpy has no function for: pieces end to end, runs, pairs in one number.

Stage: index, select, report. Input and output: arrays. Pure, no I/O.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)

_SHIFT = 32
_LOW = (1 << _SHIFT) - 1


def starts_of(lengths: NDArray[np.integer]) -> NDArray[np.int64]:
    """Where pieces of these lengths begin if they are laid end to end."""
    ends = np.cumsum(lengths, dtype=np.int64)
    return ends - lengths


def sums_of(values: NDArray[np.int64], lengths: NDArray[np.integer]) -> NDArray[np.int64]:
    """The sums of pieces of these lengths that are laid end to end; 0 for an empty one."""
    sums = np.zeros(len(lengths), dtype=np.int64)
    some = np.flatnonzero(lengths)
    if len(some):
        sums[some] = np.add.reduceat(values, starts_of(lengths[some]))
    return sums


def positions_in(starts: NDArray[np.integer], lengths: NDArray[np.integer]) -> NDArray[np.int64]:
    """All positions in some pieces of an array, given by starts and lengths, piece after piece."""
    lengths = lengths.astype(np.int64)
    shifts = starts - starts_of(lengths)
    positions: NDArray[np.int64] = np.arange(lengths.sum()) + np.repeat(shifts, lengths)
    return positions


def pieces(values: NDArray[Scalar], most: int = 1 << 13) -> Iterator[NDArray[Scalar]]:
    """An array in pieces. What makes Python objects of them holds those of one piece at a time."""
    for first in range(0, len(values), most):
        yield values[first : first + most]


def begins_run(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Which values are not the same as the one before."""
    begins = np.ones(len(values), dtype=bool)
    begins[1:] = values[1:] != values[:-1]
    return begins


def marked(positions: NDArray[np.integer], length: int) -> NDArray[np.bool_]:
    """A mask of this length that is True at some positions."""
    mask = np.zeros(length, dtype=bool)
    mask[positions] = True
    return mask


def distinct(values: NDArray[Scalar]) -> NDArray[Scalar]:
    """The values without repetitions, ascending.

    `np.unique` does the same, but hashes them from numpy 2.3 on, which takes 50 times as long as to
    sort them.
    """
    ordered = np.sort(values)
    begins: NDArray[np.bool_] = begins_run(ordered)
    return ordered[begins]


def paired(first: NDArray[np.integer], second: NDArray[np.integer]) -> NDArray[np.int64]:
    """Pairs of numbers from 0 to 2^31 - 1, in one number each, which sorts as the pair does."""
    pairs: NDArray[np.int64] = first.astype(np.int64) << _SHIFT | second
    return pairs


def unpaired(pairs: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first and the second numbers of what `paired` gave."""
    return pairs >> _SHIFT, pairs & _LOW


class Pool(Generic[Scalar]):
    """Collects pieces of one array, end to end.

    Room is reserved in advance and costs no memory until it is filled. If the size was
    guessed well, nothing is ever copied; else everything is copied once or twice.
    """

    __slots__ = ("_buffer", "_length")

    def __init__(self, dtype: type[Scalar], expected: int) -> None:
        """Makes an empty pool. Expect rather too many elements than too few."""
        self._buffer: NDArray[Scalar] = np.empty(max(expected, 1024), dtype=dtype)
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, piece: NDArray[Scalar]) -> None:
        """Adds a piece at the end."""
        end = self._length + len(piece)
        if end > len(self._buffer):
            larger: NDArray[Scalar] = np.empty(end + end // 2, dtype=self._buffer.dtype)
            larger[: self._length] = self._buffer[: self._length]
            self._buffer = larger
        self._buffer[self._length : end] = piece
        self._length = end

    def adopt(self, whole: NDArray[Scalar]) -> None:
        """Takes an array instead of all that was collected; it may be read only."""
        self._buffer, self._length = whole, len(whole)

    def array(self) -> NDArray[Scalar]:
        """What was collected, as a view."""
        return self._buffer[: self._length]
