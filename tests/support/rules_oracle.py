"""What the rules of a policy must select and keep: a slow model, made of dicts and sets.

It uses `oracle` and, like that, imports nothing from fastprune. Times are texts, which sort
like times. An empty text stands for an unknown time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from .oracle import (
    Cache,
    Manifest,
    Outcome,
    finder,
    is_digest,
    is_digest_url,
    is_owned,
    is_part,
    is_real_time,
    named_digest,
    names,
    other_tags,
    removal,
    tag_belongs,
)

OTHER_TAG = "server-only-tag"

Keeper = Callable[[Manifest, str], str]
"""Gives the rule that keeps a manifest by one of its names; empty if none does."""
Criteria = Callable[[Manifest, str], bool]
"""Whether a manifest meets every criterion by one of its names."""

_DOCKER, _OFFICIAL = "docker.io/", "docker.io/library/"


@dataclass(frozen=True, slots=True)
class Rules:
    """The criteria and keeps of one prune.

    Attributes:
        patterns: RE2 expressions, one of which must match the URL.
        exclude: RE2 expressions; an image whose URL one of them matches stays.
        created_before: `created` must be strictly before it.
        pulled_before: The same for the newest pull of the image as a unit.
        dangling: Only untagged images that no list refers to.
        broken: Only images with missing blobs, and lists that lead only to such images.
        keep_last: Keep so many newest tags of each repository, of those that the patterns match.
        keep_since: Keep what was pulled or created at this time or later.
        references: Keep these: full names with tag, or `sha256:<hex>`.
        count: At most so many images, those pulled longest ago first.
        max_bytes: Remove images until no more bytes than this are left.
        free_bytes: Remove images until so many bytes come free.
    """

    patterns: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    created_before: str | None = None
    pulled_before: str | None = None
    dangling: bool = False
    broken: bool = False
    keep_last: int | None = None
    keep_since: str | None = None
    references: tuple[str, ...] = ()
    count: int | None = None
    max_bytes: int | None = None
    free_bytes: int | None = None


def newest_pulls(cache: Cache) -> dict[str, str]:
    """The newest pull of each manifest: lists get that of their children, then the reverse."""
    pulls = {path: _own_pull(manifest) for path, manifest in cache.manifests.items()}
    edges = [
        (parent.path, child.path)
        for parent in cache.manifests.values()
        for child in cache.manifests.values()
        if is_part(cache, child, parent)
    ]
    for learner, teacher in ((0, 1), (1, 0)):
        for _ in cache.manifests:
            for edge in edges:
                pulls[edge[learner]] = max(pulls[edge[learner]], pulls[edge[teacher]])
    return pulls


def owned(cache: Cache, parent: Manifest) -> set[Manifest]:
    """The parts that go with a manifest."""
    return {child for child in cache.manifests.values() if is_owned(cache, child, parent)}


def kept(cache: Cache, rules: Rules) -> dict[str, str]:
    """What stays even if it is selected: by path, the strongest rule that keeps it.

    What goes must go by all its names.
    """
    keeps, meets = keeper(cache, rules), criteria(cache, rules)
    found: dict[str, str] = {}
    for path, one in cache.manifests.items():
        others = other_tags(cache, one)
        if shown := keeps(one, one.url):
            found[path] = shown
        elif any(keeps(one, url) for url in others) or (
            meets(one, one.url) and not all(meets(one, url) for url in others)
        ):
            found[path] = OTHER_TAG
    return found


def keeper(cache: Cache, rules: Rules) -> Keeper:
    """Which rule keeps a manifest by one of its names."""
    pulls = newest_pulls(cache)
    newest = _newest_tags(cache, rules)
    excluded = finder(list(rules.exclude))

    def keeps(one: Manifest, url: str) -> str:
        times = [text for text in (pulls[one.path], _time(one.created)) if text]
        called = replace(one, url=url)
        if excluded(called):
            return "excluded"
        if any(_means(reference, called) for reference in rules.references):
            return "keep-from"
        if _version(url) in newest or (
            rules.keep_last is not None and named_digest(url) and not tag_belongs(cache, url, one)
        ):
            return "keep-last"
        if (
            rules.keep_since is not None
            and max(times, default="later than any") >= rules.keep_since
        ):
            return "keep-within"
        return ""

    return keeps


def meeting(cache: Cache, rules: Rules) -> set[Manifest]:
    """The manifests that meet every criterion by what their files show; all if there is none."""
    meets = criteria(cache, rules)
    return {one for one in cache.manifests.values() if meets(one, one.url)}


def criteria(cache: Cache, rules: Rules) -> Criteria:
    """Whether a manifest meets every criterion by one of its names."""
    pulls, matches = newest_pulls(cache), finder(list(rules.patterns))
    referred = {digest for one in cache.manifests.values() for digest in one.children}
    lacking = _broken(cache)
    only_tags = Rules(
        exclude=rules.exclude,
        keep_last=rules.keep_last,
        keep_since=rules.keep_since,
        references=rules.references,
        count=rules.count,
    )

    def meets(one: Manifest, url: str) -> bool:
        before, pulled_before = rules.created_before, rules.pulled_before
        is_dangling = is_digest_url(url) and not one.is_list and one.digest not in referred
        return all(
            (
                not rules.patterns or matches(replace(one, url=url)),
                before is None or "" < _time(one.created) < before,
                pulled_before is None or "" < pulls[one.path] < pulled_before,
                not rules.dangling or is_dangling,
                not rules.broken or one in lacking,
                rules.keep_last is None or rules != only_tags or _version(url) is not None,
            )
        )

    return meets


def able_to_go(
    cache: Cache, candidates: set[Manifest], staying: set[Manifest], *, allow_broken: bool
) -> set[Manifest]:
    """The candidates that go if all of them do."""
    all_gone = removal(cache, candidates, staying, allow_broken=allow_broken, skip_corrupt=True)
    return {one for one in candidates if one.path in all_gone.removed}


def images_oldest_first(cache: Cache, candidates: set[Manifest]) -> list[Manifest]:
    """The candidates that no other candidate takes along, in the order in which they go."""
    pulls = newest_pulls(cache)
    parts = {child for one in candidates for child in owned(cache, one)}
    levels = _levels(cache)
    return sorted(
        candidates - parts,
        key=lambda one: (pulls[one.path] == "", pulls[one.path], levels[one.path], one.path),
    )


def _levels(cache: Cache) -> dict[str, int]:
    """How many levels of lists lead to each manifest; 32 rounds, because lists may form cycles."""
    levels = dict.fromkeys(cache.manifests, 0)
    for _ in range(32):
        before = dict(levels)
        for parent in cache.manifests.values():
            for child in cache.manifests.values():
                if is_part(cache, child, parent):
                    levels[child.path] = max(levels[child.path], before[parent.path] + 1)
    return levels


def chosen(cache: Cache, rules: Rules, *, allow_broken: bool = False) -> set[Manifest]:
    """What the rules select in the end."""
    staying = {cache.manifests[path] for path in kept(cache, rules)}
    candidates = meeting(cache, rules) - staying
    if rules.count is None and rules.max_bytes is None and rules.free_bytes is None:
        return candidates
    candidates = able_to_go(cache, candidates, staying, allow_broken=allow_broken)
    images = images_oldest_first(cache, candidates)[: rules.count]
    if rules.max_bytes is None and rules.free_bytes is None:
        return set(images)
    return set(images[: enough(cache, rules, images, staying, allow_broken=allow_broken)])


def enough(
    cache: Cache,
    rules: Rules,
    images: Sequence[Manifest],
    staying: set[Manifest],
    *,
    allow_broken: bool,
) -> int:
    """How many of the first images must go to meet a size target."""
    outcomes = [
        removal(cache, images[:number], staying, allow_broken=allow_broken, skip_corrupt=True)
        for number in range(len(images) + 1)
    ]
    total = outcomes[0].total_bytes
    excess = 0 if rules.max_bytes is None else total - rules.max_bytes
    freed = [one.freed_bytes for one in outcomes]
    removed = [one.removed_bytes for one in outcomes]
    changes = [at for at in range(1, len(freed)) if freed[at] != freed[at - 1]]
    of_use = max(changes, default=0) if cache.linked else len(images)
    return max(
        _first_with(freed, rules.free_bytes or 0, of_use),
        _first_with(removed, excess, len(images)),
    )


def _first_with(sizes: list[int], need: int, most: int) -> int:
    return next((position for position, size in enumerate(sizes) if size >= need), most)


def expected_by_rules(cache: Cache, rules: Rules, *, allow_broken: bool = False) -> Outcome:
    """What a prune by these rules must do."""
    staying = {cache.manifests[path] for path in kept(cache, rules)}
    selected = chosen(cache, rules, allow_broken=allow_broken)
    return removal(cache, selected, staying, allow_broken=allow_broken)


def _time(text: str | None) -> str:
    return text if is_real_time(text) else ""


def _own_pull(manifest: Manifest) -> str:
    return _time(manifest.pulled) or _time(manifest.created)


def _tag(url: str) -> tuple[str, str] | None:
    """Repository and tag; None if there is an `@`."""
    if "@" in url:
        return None
    path, slash, name = url.rpartition("/")
    name, colon, tag = name.partition(":")
    return (path + slash + name, tag if colon and tag else "latest")


def _version(url: str) -> tuple[str, str] | None:
    """Repository and tag, if the tag is a version and does not belong to an image."""
    return None if named_digest(url) else _tag(url)


def _newest_tags(cache: Cache, rules: Rules) -> set[tuple[str, str] | None]:
    """The newest tags of each repository, of those that the patterns match."""
    pulls, matches = newest_pulls(cache), finder(list(rules.patterns))
    meant = {
        _version(url)
        for one in cache.manifests.values()
        for url in names(cache, one)
        if not rules.patterns or matches(replace(one, url=url))
    }
    ages: dict[tuple[str, str], tuple[str, str]] = {}
    for path, manifest in cache.manifests.items():
        for tag in map(_version, names(cache, manifest)):
            if tag is not None:
                created, pulled = ages.get(tag, ("", ""))
                ages[tag] = (max(created, _time(manifest.created)), max(pulled, pulls[path]))
    newest: set[tuple[str, str] | None] = set()
    for repository in {repository for repository, _ in ages}:
        tags = [tag for tag in ages if tag[0] == repository and tag in meant]
        tags.sort(key=lambda tag: (ages[tag], tag[1]), reverse=True)
        newest.update(tags[: rules.keep_last or 0])
    return newest


def _means(reference: str, manifest: Manifest) -> bool:
    if is_digest(reference):
        # Or that of the config, which comes last.
        return reference.removeprefix("sha256:") in (manifest.digest, *manifest.blobs[-1:])
    tag = _tag(manifest.url)
    if tag is None:
        return False
    repository = tag[0]
    if repository.startswith("index." + _DOCKER):
        repository = repository.removeprefix("index.")
    if repository.startswith(_DOCKER) and repository.count("/") == 1:
        repository = _OFFICIAL + repository.removeprefix(_DOCKER)
    return f"{repository}:{tag[1]}" == reference


def _broken(cache: Cache) -> set[Manifest]:
    lacking = {one for one in cache.manifests.values() if set(one.blobs) - cache.there}
    while True:
        more = set()
        for one in cache.manifests.values():
            children = {child for child in cache.manifests.values() if child.digest in one.children}
            if children and children <= lacking:
                more.add(one)
        if more <= lacking:
            return lacking
        lacking |= more
