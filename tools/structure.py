"""The structure of the package in four figures: `python -m tools.structure` prints them.

Input: the imports between the modules of fastprune, as grimp reads them from the source (also
those inside functions and those for the type checker). Output: a line of figures, and the names
of imports and circles that should not be there.

- **Rooms**: the packages at any depth that hold modules, with `fastprune` itself, and the modules
  that lie directly in `fastprune`. A module of a package belongs to the room of that package.
- **Levels**: the length of the longest chain of imports from room to room. Rooms that import each
  other in a circle stand on one level.
- **Arrows back up**: the fewest imports from room to room that would have to go so that no rooms
  stand in a circle.
- **Circles**: groups of modules of one room that import each other in a circle.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache

import grimp

PACKAGE = "fastprune"

Graph = Mapping[str, Collection[str]]
"""The imports of each node; all nodes are keys."""


@dataclass(frozen=True, slots=True)
class Structure:
    """The figures of a package.

    Attributes:
        rooms: The names of the rooms, sorted.
        levels: The number of levels that the rooms stand on.
        back_up: The imports (from, to) between rooms that run back up.
        circles: The circles of modules inside a room, each sorted.
    """

    rooms: tuple[str, ...]
    levels: int
    back_up: tuple[tuple[str, str], ...]
    circles: tuple[tuple[str, ...], ...]


LIMITS = {"rooms": 31, "levels": 14, "back_up": 0, "circles": 0}
"""The most that there may be of each. Lower them when the structure gets simpler."""


def structure_of(modules: Graph) -> Structure:
    """Works out the figures.

    Args:
        modules: What each module imports; a package is a module that others lie in.
    """
    packages = {name.rpartition(".")[0] for name in modules} - {""}

    def room(module: str) -> str:
        parent = module.rpartition(".")[0]
        return (
            module if module in packages or parent == module.split(".", maxsplit=1)[0] else parent
        )

    rooms: dict[str, set[str]] = {}
    inside: dict[str, set[str]] = {}
    for module, imported in modules.items():
        own = rooms.setdefault(room(module), set())
        own.update(room(one) for one in imported if room(one) != room(module))
        inside[module] = {one for one in imported if room(one) == room(module)}
    groups = circles_of(rooms)
    return Structure(
        rooms=tuple(sorted(rooms)),
        levels=_levels(rooms, groups),
        back_up=tuple(sorted(arrow for group in groups for arrow in arrows_back(group, rooms))),
        circles=tuple(sorted(circles_of(inside))),
    )


def circles_of(graph: Graph) -> list[tuple[str, ...]]:
    """The groups of nodes that can all be reached from each other, without single nodes."""
    reached = {node: _reachable(node, graph) for node in graph}
    groups = {
        tuple(sorted(other for other in reached[node] if node in reached[other]))
        for node in graph
        if node in reached[node]
    }
    return sorted(group for group in groups if len(group) > 1)


def arrows_back(group: tuple[str, ...], graph: Graph) -> list[tuple[str, str]]:
    """The fewest arrows that break all circles of a group: tries each node as the lowest."""

    @cache
    def fewest(left: frozenset[str]) -> tuple[tuple[str, str], ...]:
        orders = (
            tuple((node, other) for other in sorted(left) if other != node and other in graph[node])
            + fewest(left - {node})
            for node in sorted(left)
        )
        return min(orders, key=len, default=())

    return list(fewest(frozenset(group)))


def _reachable(node: str, graph: Graph) -> set[str]:
    found: set[str] = set()
    waiting = [node]
    while waiting:
        for other in graph[waiting.pop()]:
            if other not in found:
                found.add(other)
                waiting.append(other)
    return found


def _levels(graph: Graph, groups: list[tuple[str, ...]]) -> int:
    first = {node: group[0] for group in groups for node in group}
    merged: dict[str, set[str]] = {}
    for node, others in graph.items():
        own = first.get(node, node)
        merged.setdefault(own, set()).update(first.get(other, other) for other in others)

    @cache
    def level(node: str) -> int:
        return 1 + max((level(other) for other in merged[node] if other != node), default=0)

    return max(map(level, merged), default=0)


def read_modules() -> Graph:
    """What each module of the package imports, from the source."""
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    return {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}


def main() -> int:
    """Prints the figures; gives 1 if one of them is above its limit."""
    found = structure_of(read_modules())
    figures = figures_of(found)
    print(
        f"structure: {figures['rooms']} rooms on {figures['levels']} levels, "
        f"{figures['back_up']} imports back up, {figures['circles']} circles"
    )
    for one, other in found.back_up:
        print(f"  back up: {one} imports {other}")
    for circle in found.circles:
        print(f"  circle: {', '.join(circle)}")
    above = [name for name, most in LIMITS.items() if figures[name] > most]
    for name in above:
        print(f"  {name}: {figures[name]}, at most {LIMITS[name]}", file=sys.stderr)
    return 1 if above else 0


def figures_of(found: Structure) -> dict[str, int]:
    """The figures by the names of `LIMITS`."""
    return {
        "rooms": len(found.rooms),
        "levels": found.levels,
        "back_up": len(found.back_up),
        "circles": len(found.circles),
    }


if __name__ == "__main__":
    sys.exit(main())
