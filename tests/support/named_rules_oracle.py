"""What several named rules must select and keep: a slow model, made of dicts and sets.

It uses `rules_oracle`, which says what each rule selects and keeps by itself.
"""

from __future__ import annotations

from collections.abc import Mapping

from .oracle import Cache, Manifest, Outcome, finder, removal
from .rules_oracle import Rules, able_to_go, enough, images_oldest_first, kept, meeting, owned

SIZE_TARGET = "size-target"


def kept_by_several(
    cache: Cache, whole: Rules, rules: Mapping[str, Rules]
) -> dict[str, tuple[str, str]]:
    """What stays even if it is selected: by path, the keep and the name of its rule, if any."""
    found = {path: (keep, "") for path, keep in kept(cache, whole).items()}
    for name, rule in rules.items():
        reach = _with_parts(cache, _matching(cache, rule))
        for path, keep in kept(cache, rule).items():
            if cache.manifests[path] in reach:
                found.setdefault(path, (keep, name))
    return found


def chosen_by_several(
    cache: Cache, whole: Rules, rules: Mapping[str, Rules], *, allow_broken: bool = False
) -> dict[str, str]:
    """What is selected in the end: by path, the name of the rule."""
    staying = {cache.manifests[path] for path in kept_by_several(cache, whole, rules)}
    found: dict[str, str] = {}
    for name, rule in rules.items():
        candidates = meeting(cache, rule) - staying
        if rule.count is not None:
            candidates = able_to_go(cache, candidates, staying, allow_broken=allow_broken)
            candidates = set(images_oldest_first(cache, candidates)[: rule.count])
        for one in candidates:
            found.setdefault(one.path, name)
    if whole.max_bytes is None and whole.free_bytes is None:
        return found
    selected = {cache.manifests[path] for path in found}
    everything = set(cache.manifests.values())
    able = able_to_go(cache, everything - staying, staying, allow_broken=allow_broken)
    others = [one for one in images_oldest_first(cache, able) if one not in selected]
    first = images_oldest_first(cache, selected)
    went = enough(cache, whole, [*first, *others], staying, allow_broken=allow_broken)
    return found | {one.path: SIZE_TARGET for one in others[: max(0, went - len(first))]}


def expected_by_several(
    cache: Cache, whole: Rules, rules: Mapping[str, Rules], *, allow_broken: bool = False
) -> Outcome:
    """What a prune by these rules must do."""
    staying = {cache.manifests[path] for path in kept_by_several(cache, whole, rules)}
    chosen = chosen_by_several(cache, whole, rules, allow_broken=allow_broken)
    selected = {cache.manifests[path] for path in chosen}
    return removal(cache, selected, staying, allow_broken=allow_broken)


def _matching(cache: Cache, rule: Rules) -> set[Manifest]:
    matches = finder(list(rule.patterns))
    return {one for one in cache.manifests.values() if not rule.patterns or matches(one)}


def _with_parts(cache: Cache, some: set[Manifest]) -> set[Manifest]:
    while True:
        more = {child for one in some for child in owned(cache, one)}
        if more <= some:
            return some
        some = some | more
