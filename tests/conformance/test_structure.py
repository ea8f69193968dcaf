"""The structure of the package stays within its limits, and the tool that counts it is right."""

from __future__ import annotations

import pytest
from tools.structure import LIMITS, Graph, figures_of, read_modules, structure_of


@pytest.mark.parametrize("figure", LIMITS)
def test_the_structure_keeps_to_its_limits(figure: str) -> None:
    assert figures_of(structure_of(read_modules()))[figure] <= LIMITS[figure]


def test_packages_at_any_depth_and_modules_at_the_top_are_rooms() -> None:
    modules: Graph = {
        "p": [],
        "p.top": [],
        "p.a": [],
        "p.a.x": [],
        "p.a.y": [],
        "p.a.b": [],
        "p.a.b.z": [],
    }
    assert structure_of(modules).rooms == ("p", "p.a", "p.a.b", "p.top")


def test_levels_are_the_longest_chain_of_rooms() -> None:
    modules: Graph = {
        "p": [],
        "p.a": ["p.b.x", "p.c"],
        "p.b": [],
        "p.b.x": ["p.b.y"],
        "p.b.y": ["p.c"],
    }
    assert structure_of({**modules, "p.c": []}).levels == 3


def test_the_import_that_closes_a_circle_of_rooms_runs_back_up() -> None:
    modules: Graph = {"p": [], "p.a": ["p.b", "p.c"], "p.b": ["p.c"], "p.c": ["p.a"]}
    found = structure_of(modules)
    assert found.back_up == (("p.c", "p.a"),)
    assert found.circles == ()


def test_a_circle_inside_a_room_is_named() -> None:
    modules: Graph = {
        "p": [],
        "p.a": [],
        "p.a.x": ["p.a.y"],
        "p.a.y": ["p.a.z"],
        "p.a.z": ["p.a.x"],
    }
    found = structure_of(modules)
    assert found.circles == (("p.a.x", "p.a.y", "p.a.z"),)
    assert found.back_up == ()
