"""The cache as a tree, from registries to images, cut down to what can be shown.

Stage: report. Input: four usages of one cache, and what a plan removes. Output: a document.
Pure, no I/O.

A file that one image needs is counted there. A shared file is counted at the lowest node above
all images that need it: repository, registry or cache. So the children of a node add up to it;
what they share is one more child.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastprune.index.cache_index import Rows
from fastprune.index.times import BAD_TIME, Times
from fastprune.model import DIGEST_PREFIX
from fastprune.text.escaping import printable
from fastprune.text.quantities import format_count
from fastprune.usage.ages import UNKNOWN
from fastprune.usage.placing import Bytes, Extra
from fastprune.usage.rows import Usage

if TYPE_CHECKING:
    from fastprune.plan.prune_plan import PrunePlan

_SHORT_DIGEST = len("@") + len(DIGEST_PREFIX) + 12
_CUT_DIGEST = "@" + DIGEST_PREFIX

Node = dict[str, Any]
"""A node of the tree: `n` name, `k` kind (where it is no group), `b` bytes, `g` bytes that
would go, `i` images, `s` bytes that it shares with others, `p` newest pull in seconds, `m`
the mean of the newest pulls of its bytes, `c` children."""


class Most(NamedTuple):
    """How much the tree shows by name, the largest of each; the others are summed.

    Attributes:
        images: Of each of the `detailed` largest repositories.
        images_of_others: Of each of the other repositories.
        detailed: Repositories that are shown in detail.
    """

    registries: int = 60
    namespaces: int = 300
    repositories: int = 1_000
    images: int = 40
    images_of_others: int = 8
    detailed: int = 150


MOST = Most()


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """A usage, with what would go of each row.

    Attributes:
        usage: Where the space goes; dangling and broken images are not apart.
        goes: int64: bytes of each row that would go.
        dated: float64: bytes of each row with a known pull ...
        moments: float64: ... and the sum of these pulls, each times its bytes.
    """

    usage: Usage
    goes: Bytes
    dated: NDArray[np.float64]
    moments: NDArray[np.float64]

    def besides(self, kind: Extra, name: str) -> list[Node]:
        """The node of an extra row, if it is not empty."""
        at = len(self.usage) + kind
        size, images = int(self.usage.columns.unique[at]), int(self.usage.columns.images[at])
        if not size:
            return []
        return [_node(name, size, int(self.goes[at]), kind=kind.name.lower(), images=images)]

    def mean_pull(self, rows: Rows) -> int:
        """The mean of the newest pulls of the bytes of some rows, all together."""
        dated = float(self.dated[rows].sum())
        return int(self.moments[rows].sum() / dated) if dated else BAD_TIME


def level(
    usage: Usage, blob_bytes: Bytes, pulls: tuple[Times, Times], plan: PrunePlan | None
) -> Level:
    """Works out what would go of each row of a usage, and how old it is.

    The pulls are what `file_pulls` gives. Without a plan, nothing would go.
    """
    places = usage.places
    assert places is not None
    goes = np.zeros_like(usage.columns.unique)
    if plan is not None:
        going = np.zeros_like(blob_bytes)
        going[plan.blobs] = blob_bytes[plan.blobs]
        manifests = np.where(plan.removed, usage.index.file_sizes, 0)
        # Files with other hard links free nothing.
        going[plan.index.linked_blobs] = manifests[plan.index.linked_manifests] = 0
        goes = places.sums(going, manifests)
    dated, moments = np.zeros((2, len(goes)))
    for rows, times, sizes in (
        (places.blobs, pulls[0], blob_bytes),
        (places.manifests, pulls[1], usage.index.file_sizes),
    ):
        weights = np.where((times > BAD_TIME) & (times < UNKNOWN), sizes, 0).astype(np.float64)
        dated += np.bincount(rows, weights, len(goes))
        moments += np.bincount(rows, weights * times, len(goes))
    return Level(usage, goes, dated, moments)


def tree(
    registries: Level, namespaces: Level, repositories: Level, images: Level, most: Most = MOST
) -> Node:
    """The cache as a tree; a namespace is the first two parts of the name of a repository."""
    top = _largest(repositories, most.repositories)
    nodes = dict(zip(top.tolist(), _repository_nodes(repositories, images, top, most), strict=True))
    top = _largest(namespaces, most.namespaces)
    nodes = _with_members(namespaces, top, repositories, nodes, ("repository", "repositories"))
    top = _largest(registries, most.registries)
    nodes = _with_members(registries, top, namespaces, nodes, ("namespace", "namespaces"))
    children = list(nodes.values())
    hidden = np.setdiff1d(np.arange(len(registries.usage)), top)
    if len(hidden):
        more = format_count(len(hidden), "more registry", "more registries")
        children.append(_rest(registries, hidden, more))
    children += registries.besides(Extra.SHARED, "shared between registries")
    children += registries.besides(Extra.ORPHANS, "orphan blobs")
    children += registries.besides(Extra.UNREADABLE, "unreadable manifests")
    children += registries.besides(Extra.SHARED_OUTSIDE, "shared with what was not selected")
    children += registries.besides(Extra.OUTSIDE, "not selected")
    total = _node("all", registries.usage.total, int(registries.goes.sum()))
    total["i"] = int(registries.usage.columns.images.sum())
    return total | {"c": _sorted(children)}


def _with_members(
    coarser: Level, groups: Rows, finer: Level, nodes: dict[int, Node], nouns: tuple[str, str]
) -> dict[int, Node]:
    """The nodes of some groups of the coarser usage, by row, with the nodes of their members.

    The members are groups of the finer usage. `nodes` has those to show, by row; `nouns` are the
    word for a member, and its plural.
    """
    within = _parents(finer.usage, coarser.usage)
    shown_members = np.fromiter(nodes, dtype=np.intp)
    found = {}
    for group, node in zip(groups.tolist(), _nodes(coarser, groups), strict=True):
        members = np.flatnonzero(within == group)
        shown = members[np.isin(members, shown_members)]
        inside = [nodes[member] for member in shown.tolist()]
        if coarser.usage.by is finer.usage.by and len(members) == len(inside) == 1:
            # A namespace of one repository is not shown: the repository takes its place.
            found[group] = inside[0]
            continue
        hidden = np.setdiff1d(members, shown)
        node["c"] = _with_rest(node, inside, finer, hidden, *nouns)
        found[group] = node
    return found


def _repository_nodes(repositories: Level, images: Level, top: Rows, most: Most) -> Iterable[Node]:
    within = _parents(images.usage, repositories.usage)
    # Images by repository, the largest of each first.
    order = np.lexsort((-images.usage.columns.unique[: len(within)], within))
    starts = np.searchsorted(within[order], top, side="left")
    ends = np.searchsorted(within[order], top, side="right")
    sizes = repositories.usage.columns.unique[top]
    detailed = sizes >= np.sort(sizes)[-most.detailed :].min(initial=0)
    for node, start, end, in_detail in zip(
        _nodes(repositories, top), starts, ends, detailed, strict=True
    ):
        members = order[start:end]
        count = most.images if in_detail else most.images_of_others
        shown = list(_nodes(images, members[:count]))
        for image in shown:
            tail = image["n"].removeprefix(node["n"]) or image["n"]
            image["n"] = tail[:_SHORT_DIGEST] if tail.startswith(_CUT_DIGEST) else tail
        yield node | {"c": _with_rest(node, shown, images, members[count:], "image", "images")}


def _parents(finer: Usage, coarser: Usage) -> NDArray[np.int64]:
    """The row of the coarser usage that each group of the finer one is in."""
    within = np.zeros(len(finer), dtype=np.int64)
    ordinary = finer.of_unit < len(finer)
    within[finer.of_unit[ordinary]] = coarser.of_unit[ordinary]
    return within


def _largest(one: Level, most: int) -> Rows:
    """The groups of which most bytes would go; ties go to the largest."""
    count = len(one.usage)
    order = np.lexsort((-one.usage.columns.unique[:count], -one.goes[:count]))
    # Half of the room is for the largest, whatever goes.
    by_size = np.argsort(-one.usage.columns.unique[:count], kind="stable")
    chosen = np.concatenate([by_size[: most // 2], order])
    _, first = np.unique(chosen, return_index=True)
    return np.sort(chosen[np.sort(first)][:most])


def _nodes(one: Level, groups: Rows) -> Iterable[Node]:
    columns = one.usage.columns.take(groups)
    for at, name in enumerate(one.usage.names(groups)):
        yield _node(
            printable(name) or "-",
            int(columns.unique[at]),
            int(one.goes[groups[at]]),
            images=int(columns.images[at]),
            shared=int(columns.shared[at]),
            newest=int(columns.newest[at]),
            mean=one.mean_pull(groups[at : at + 1]),
        )


def _node(
    name: str,
    size: int,
    goes: int,
    *,
    kind: str = "",
    images: int = 0,
    shared: int = 0,
    newest: int = BAD_TIME,
    mean: int = BAD_TIME,
) -> Node:
    node: Node = {"n": name, "b": size}
    optional = {"k": kind, "g": goes, "i": images, "s": shared}
    node |= {key: value for key, value in optional.items() if value}
    pulls = {"p": newest, "m": mean}
    return node | {key: time for key, time in pulls.items() if time > BAD_TIME}


def _with_rest(
    node: Node, shown: list[Node], one: Level, hidden: Rows, singular: str, plural: str
) -> list[Node]:
    """The children of a node: those shown, all others in one, and what they share."""
    children = list(shown)
    if len(hidden):
        more = "more " if shown else ""
        rest = format_count(len(hidden), more + singular, more + plural)
        children.append(_rest(one, hidden, rest))
    size = node["b"] - sum(child["b"] for child in children)
    if size:
        goes = node.get("g", 0) - sum(child.get("g", 0) for child in children)
        children.append(_node(f"shared by its {plural}", size, goes, kind="shared"))
    return _sorted(children)


def _rest(one: Level, hidden: Rows, name: str) -> Node:
    columns = one.usage.columns.take(hidden)
    return _node(
        name,
        int(columns.unique.sum()),
        int(one.goes[hidden].sum()),
        kind="others",
        images=int(columns.images.sum()),
        newest=int(columns.newest.max()),
        mean=one.mean_pull(hidden),
    )


def _sorted(children: list[Node]) -> list[Node]:
    return sorted(children, key=lambda child: -child["b"])


def savings(one: Level, most: int) -> dict[str, Any]:
    """How many groups there are, and those that give most.

    A group is a row: name, bytes, shared, goes, images, newest pull.
    """
    rows = [
        [node["n"], node["b"], *(node.get(key, 0) for key in "sgi"), node.get("p")]
        for node in _nodes(one, _largest(one, most))
    ]
    return {"count": len(one.usage), "rows": rows}
