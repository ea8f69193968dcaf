"""Pool: an array that grows at its end and never exists twice.

Stage: index. Pure, no I/O.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)


class Pool(Generic[Scalar]):
    """Collects pieces of one array, end to end.

    Room is taken from the system in advance and costs no memory until it is filled. So
    a good guess of the size means that nothing is ever copied, and a bad one that it is
    copied once or twice.
    """

    __slots__ = ("_buffer", "_length")

    def __init__(self, dtype: type[Scalar], expected: int) -> None:
        """Makes an empty pool.

        Args:
            dtype: Type of the elements.
            expected: How many there may be, rather too many than too few.
        """
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

    def array(self) -> NDArray[Scalar]:
        """What was collected, as a view."""
        return self._buffer[: self._length]
