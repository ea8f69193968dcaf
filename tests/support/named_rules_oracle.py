"""What several named rules must select and keep: a slow model, made of dicts and sets.

It uses `rules_oracle`, which says what each rule selects and keeps by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from .oracle import Cache, Manifest, Outcome, finder, names, other_tags, removal
from .rules_oracle import (
    OTHER_TAG,
    Criteria,
    Rules,
    able_to_go,
    criteria,
    enough,
    images_oldest_first,
    keeper,
    owned,
)

SIZE_TARGET = "size-target"


def kept_by_several(
    cache: Cache, whole: Rules, rules: Mapping[str, Rules]
) -> dict[str, tuple[str, str]]:
    """What stays even if it is selected: by path, the keep and the name of its rule, if any."""
    found: dict[str, tuple[str, str]] = {}
    for name, rule, reach in _reaches(cache, whole, rules, lambda one: (one.url,)):
        keeps = keeper(cache, rule)
        for one in reach:
            if keep := keeps(one, one.url):
                found.setdefault(one.path, (keep, name))
    # After all rules that keep something by what its file shows come those by its other tags.
    for name, rule, reach in _reaches(cache, whole, rules, lambda one: names(cache, one)):
        keeps = keeper(cache, rule)
        for one in reach:
            # What a rule reaches by any name, it keeps by any name.
            tags = names(cache, one) if name else other_tags(cache, one)
            if any(keeps(one, url) for url in tags):
                found.setdefault(one.path, (OTHER_TAG, name))
    if whole.max_bytes is None and whole.free_bytes is None:
        met = _met_by_some_rule(cache, rules)
        for one in cache.manifests.values():
            if met(one, one.url) and not all(met(one, url) for url in names(cache, one)):
                found.setdefault(one.path, (OTHER_TAG, ""))
    return found


def chosen_by_several(
    cache: Cache, whole: Rules, rules: Mapping[str, Rules], *, allow_broken: bool = False
) -> dict[str, str]:
    """What is selected in the end: by path, the name of the rule."""
    staying = {cache.manifests[path] for path in kept_by_several(cache, whole, rules)}
    met = _met_by_some_rule(cache, rules)
    going = {
        one
        for one in set(cache.manifests.values()) - staying
        if all(met(one, url) for url in names(cache, one))
    }
    chosen_names: dict[tuple[str, str], str] = {}
    for name, rule in rules.items():
        meets = criteria(cache, rule)
        candidates = {one for one in going if any(meets(one, url) for url in names(cache, one))}
        if rule.count is not None:
            candidates = able_to_go(cache, candidates, staying, allow_broken=allow_broken)
            candidates = set(images_oldest_first(cache, candidates)[: rule.count])
        for one in candidates:
            for url in names(cache, one):
                if meets(one, url):
                    chosen_names.setdefault((one.path, url), name)
    found = {
        one.path: chosen_names[one.path, one.url]
        for one in going
        if all((one.path, url) in chosen_names for url in names(cache, one))
    }
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


def _reaches(
    cache: Cache,
    whole: Rules,
    rules: Mapping[str, Rules],
    known_by: Callable[[Manifest], tuple[str, ...]],
) -> Iterator[tuple[str, Rules, set[Manifest]]]:
    """The whole policy and each rule, with the manifests that it may keep."""
    yield "", whole, set(cache.manifests.values())
    for name, rule in rules.items():
        matches = finder(list(rule.patterns))
        yield (
            name,
            rule,
            _with_parts(
                cache,
                {
                    one
                    for one in cache.manifests.values()
                    for url in known_by(one)
                    if not rule.patterns or matches(replace(one, url=url))
                },
            ),
        )


def _met_by_some_rule(cache: Cache, rules: Mapping[str, Rules]) -> Criteria:
    """Whether a manifest meets the criteria of any rule by one of its names."""
    every = [criteria(cache, rule) for rule in rules.values()]
    return lambda one, url: any(meets(one, url) for meets in every)


def _with_parts(cache: Cache, some: set[Manifest]) -> set[Manifest]:
    while True:
        more = {child for one in some for child in owned(cache, one)}
        if more <= some:
            return some
        some = some | more
