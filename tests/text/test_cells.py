"""Text on a terminal is measured in cells, not in characters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastprune.text.cells import bar, cells, fitted, left, right
from fastprune.text.escaping import printable

SCRIPTS = [
    ("docker.io/nginx", 15),
    ("镜像/仓库:最新", 14),
    ("ミラー", 6),
    ("한국어", 6),
    ("é", 1),
    ("e\u0301", 1),
    ("ﾊﾝｶｸ", 4),
    ("😀", 2),
    ("Ω≈ç", 3),
]


@pytest.mark.parametrize(("text", "width"), SCRIPTS)
def test_text_takes_cells_not_characters(text: str, width: int) -> None:
    assert cells(text) == width


@given(st.text(), st.integers(0, 30))
def test_what_is_fitted_never_takes_more(text: str, width: int) -> None:
    shown = fitted(printable(text), width)
    assert cells(shown) <= width
    assert shown == printable(text) or "…" in shown or width == 0


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("docker.io/calico/typha", 12, "doc…co/typha"),
        ("abc", 3, "abc"),
        ("abc", 1, "…"),
        ("abc", 0, ""),
        ("镜像仓库镜像仓库", 9, "镜…像仓库"),
        # Half a wide character can't be shown.
        ("镜像仓库镜像仓库", 8, "镜…仓库"),
    ],
)
def test_the_middle_is_cut_out(text: str, width: int, shown: str) -> None:
    assert fitted(text, width) == shown


def test_wide_text_is_aligned_by_cells() -> None:
    assert left("镜像", 6) == "镜像  "
    assert right("镜像", 6) == "  镜像"
    assert left("abcdef", 3) == "abcdef"


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0, ""), (1, "████"), (0.5, "██"), (0.25, "█"), (0.001, "▏"), (0.4, "█▋"), (7, "████")],
)
def test_a_bar_is_drawn_in_eighths(share: float, shown: str) -> None:
    assert bar(share, 4) == shown
    assert bar(share, 0) == ""
