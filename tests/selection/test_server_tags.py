"""Tags that only a running server knows, rule by rule, on caches of a few images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.property.test_saved_plans import decoded
from tests.support.cachebuilder import CacheBuilder, digest_of
from tests.support.listings import listing_of
from tests.support.realcaches import unpack
from tests.support.scanning import scanned

from fastprune import Policy, Rule, make_plan, replan
from fastprune.index.cache_index import CacheIndex
from fastprune.index.known_urls import with_known_urls
from fastprune.index.refcounts import owned_edges
from fastprune.plan.encoding import encode
from fastprune.plan.identity import identify
from fastprune.plan.prune_plan import PrunePlan
from fastprune.plan.replanning import UNSEEN
from fastprune.selection.rules.defects import dangling
from fastprune.selection.selecting import Keep, select, selected_names

OLDER, OLD, NEW = "2024-01-01T00:00:00", "2024-01-02T00:00:00", "2024-01-03T00:00:00"

Known = tuple[tuple[str, str], ...]


def removed(plan: PrunePlan) -> set[str]:
    return set(plan.index.urls(plan.manifests))


def kept_by(index: CacheIndex, policy: Policy) -> dict[str, str]:
    codes = select(index, policy).kept_by.tolist()
    return {index.url(row): Keep(code).text for row, code in enumerate(codes) if code}


def known(root: Path, *entries: tuple[str, str]) -> CacheIndex:
    """A scan of a cache whose server knows these URLs besides those that the files show."""
    index = scanned(root)
    shown = [
        (index.url(row), index.digests[row].tobytes().hex())
        for row in range(len(index))
        if index.layout.manifest_folder_of(index.url(row)) == index.folder(row)
    ]
    return with_known_urls(index, listing_of({**dict(shown), **dict(entries)}.items()))


def test_an_image_goes_if_all_of_its_tags_go(builder: CacheBuilder) -> None:
    image, other = builder.image("r/a:1"), builder.image("r/a:2")
    index = known(builder.root, ("r/a:1-stable", image), ("r/a:x", other))
    for pattern, gone, kept in (
        ("r/a:1", {"r/a:1"}, {}),
        ("r/a:1$", set(), {"r/a:1": "server-only-tag"}),
        # The tag that the file shows does not go.
        ("r/a:1-stable", set(), {}),
        ("r/a:[12]", {"r/a:1"}, {"r/a:2": "server-only-tag"}),
        (".", {"r/a:1", "r/a:2"}, {}),
    ):
        policy = Policy(patterns=(pattern,))
        assert removed(make_plan(index, policy)) == gone
        assert kept_by(index, policy) == kept
        # Patterns that the scan was not asked to match are matched now, with the same answer.
        asked = scanned(builder.root, pattern_sets=((pattern,),))
        assert removed(make_plan(replace(asked, known=index.known), policy)) == gone


def test_a_policy_without_patterns_asks_nothing_of_tags(builder: CacheBuilder) -> None:
    image = builder.image("r/a:1", created=OLD)
    index = known(builder.root, ("r/a:2", image))
    assert removed(make_plan(index, Policy(created_before=NEW))) == {"r/a:1"}


def test_an_excluded_tag_of_the_server_keeps_the_image(builder: CacheBuilder) -> None:
    image = builder.image("r/a:1", created=OLD)
    index = known(builder.root, ("r/a:keep-me", image))
    policy = Policy(created_before=NEW, exclude=("keep-me",))
    assert removed(make_plan(index, policy)) == set()
    assert kept_by(index, policy) == {"r/a:1": "server-only-tag"}


def test_a_tag_of_the_server_in_use_keeps_the_image(builder: CacheBuilder) -> None:
    image = builder.image("r.io/a:1", created=OLD)
    index = known(builder.root, ("docker.io/library/nginx:latest", image), ("r.io/a:2", image))
    assert index.known is not None
    # The tag `latest` would be in lts/.
    assert len(index.known.strangers) == 1
    for reference, gone in (("r.io/a:2", set()), ("r.io/a:3", {"r.io/a:1"})):
        policy = Policy(created_before=NEW, keep_references=(reference,))
        assert removed(make_plan(index, policy)) == gone


def test_tags_of_the_server_count_for_keep_last(builder: CacheBuilder) -> None:
    newest = builder.image("r/a:3", created=NEW)
    builder.image("r/a:2", created=OLD)
    oldest = builder.image("r/a:1", created=OLDER)
    without = scanned(builder.root)
    assert removed(make_plan(without, Policy(keep_last=2))) == {"r/a:1"}
    # The newest image has two tags, so the two newest tags are its own.
    index = known(builder.root, ("r/a:3-again", newest))
    assert removed(make_plan(index, Policy(keep_last=2))) == {"r/a:2", "r/a:1"}
    # Of another repository, a tag is the newest one.
    index = known(builder.root, ("r/b:1", oldest))
    assert removed(make_plan(index, Policy(keep_last=2))) == set()
    assert kept_by(index, Policy(keep_last=2))["r/a:1"] == "server-only-tag"


def test_an_image_with_a_tag_of_the_server_is_not_dangling(builder: CacheBuilder) -> None:
    tagged, untagged = digest_of("tagged"), digest_of("untagged")
    for name in (tagged, untagged):
        builder.image(f"r/a@sha256:{name}", name=name)
    index = known(builder.root, ("r/a:1", tagged))
    policy = Policy(dangling=True)
    assert removed(make_plan(index, policy)) == {f"r/a@sha256:{untagged}"}
    assert kept_by(index, policy) == {f"r/a@sha256:{tagged}": "server-only-tag"}
    assert set(index.urls(np.flatnonzero(dangling(index)))) == {f"r/a@sha256:{untagged}"}
    assert int(dangling(scanned(builder.root)).sum()) == 2


@pytest.mark.parametrize("policy", [Policy(patterns=("a:.$",), count=1), Policy(free_bytes=1)])
def test_a_count_and_a_size_target_choose_among_what_may_go(
    policy: Policy, builder: CacheBuilder
) -> None:
    oldest = builder.image("r/a:1", created=OLDER, layers=[builder.blob(50)])
    builder.image("r/a:2", created=OLD, layers=[builder.blob(60)])
    index = known(builder.root, ("r/a:stable", oldest))
    kept = replace(policy, exclude=("stable",))
    assert removed(make_plan(index, kept)) == {"r/a:2"}


def test_a_rule_with_a_count_chooses_among_what_may_go_by_all_rules(builder: CacheBuilder) -> None:
    oldest = builder.image("r/a:1", created=OLDER, layers=[builder.blob(50)])
    builder.image("r/a:2", created=OLD, layers=[builder.blob(60)])
    index = known(builder.root, ("r/b:1", oldest))
    one = Rule("a", Policy(patterns=("r/a",), count=1))
    assert removed(make_plan(index, Policy(rules=(one,)))) == {"r/a:2"}
    both = (one, Rule("b", Policy(patterns=("r/b",), created_before=NEW)))
    plan = make_plan(index, Policy(rules=both))
    assert removed(plan) == {"r/a:1"}
    assert plan.rule_of(int(plan.manifests[0])) == "a"


def test_a_rule_keeps_what_its_patterns_match_by_a_tag_of_the_server(builder: CacheBuilder) -> None:
    image = builder.image("r/a:1", created=OLD)
    index = known(builder.root, ("prod/a:1", image))
    everything = Rule("all", Policy(created_before=NEW))
    prod = Rule("prod", Policy(patterns=("^prod/",), keep_since=OLDER, count=0))
    plan = make_plan(index, Policy(rules=(everything, prod)))
    assert removed(plan) == set()
    assert plan.selection is not None
    assert plan.selection.kept_by.tolist() == [Keep.OTHER_TAG]
    assert plan.keeper_of(0) == "prod"


def test_a_size_target_of_a_policy_of_rules_takes_any_image_that_nothing_keeps(
    builder: CacheBuilder,
) -> None:
    image = builder.image("r/a:1", created=OLD)
    index = known(builder.root, ("r/b:1", image))
    rule = Rule("a", Policy(patterns=("r/a",)))
    assert removed(make_plan(index, Policy(rules=(rule,)))) == set()
    assert removed(make_plan(index, Policy(rules=(rule,), free_bytes=1))) == {"r/a:1"}


def list_and_child(builder: CacheBuilder) -> tuple[str, str]:
    child = digest_of("child")
    builder.image(f"r/a@sha256:{child}", name=child)
    return builder.index("r/a:1", children=[child]), child


def test_a_child_with_a_tag_that_only_the_server_knows_was_pulled_for_itself(
    builder: CacheBuilder,
) -> None:
    _, child = list_and_child(builder)
    policy = Policy(patterns=("^r/a:1$",))
    assert len(removed(make_plan(known(builder.root), policy))) == 2
    index = known(builder.root, ("r/a:1-amd64", child))
    assert removed(make_plan(index, policy)) == {"r/a:1"}
    # Selected itself, it goes.
    assert len(removed(make_plan(index, Policy(patterns=("r/a",))))) == 2


def test_a_child_that_the_server_knows_by_a_tag_of_its_list_goes_with_it(
    builder: CacheBuilder,
) -> None:
    _, child = list_and_child(builder)
    # The tag moved from the list, whose file still shows it, to an image of it.
    for tag, owned in (("r/a:1", 1), ("r/a:stable", 0)):
        index = with_known_urls(scanned(builder.root), listing_of([(tag, child)]))
        heads, children = owned_edges(index, np.arange(len(index)))
        assert (len(heads), len(children)) == (owned, owned)
        assert len(removed(make_plan(index, Policy(patterns=("^r/a:1$",))))) == 1 + owned


def test_a_child_whose_file_shows_a_tag_by_which_only_the_server_knows_its_list(
    builder: CacheBuilder,
) -> None:
    child = builder.image("r/a:loaded")
    whole = builder.index("r/a:1", children=[child])
    policy = Policy(patterns=("^r/a:1$", "^r/a:loaded$"))
    shown = Policy(patterns=("^r/a:1$",))
    assert removed(make_plan(known(builder.root), shown)) == {"r/a:1"}
    index = known(builder.root, ("r/a:loaded", whole))
    assert removed(make_plan(index, shown)) == set()
    assert removed(make_plan(index, policy)) == {"r/a:1", "r/a:loaded"}


def test_what_an_image_that_stays_for_a_tag_needs_stays_too(builder: CacheBuilder) -> None:
    whole, _ = list_and_child(builder)
    index = known(builder.root, ("r/a:stable", whole))
    plan = make_plan(index, Policy(patterns=("r/a:1$", "@sha256")))
    assert removed(plan) == set()
    assert len(plan.blobs) == 0
    assert len(plan.protected) == 1


def test_a_signature_belongs_to_an_image_by_a_tag_that_only_the_server_knows(
    builder: CacheBuilder,
) -> None:
    image = builder.image("r/a:1")
    # The image is known in another repository as well, and its signature is there.
    builder.image(f"q/b:sha256-{image}.sig")
    without = scanned(builder.root)
    assert not without.attached.any()
    index = known(builder.root, ("q/b:7", image))
    assert index.urls(np.flatnonzero(index.attached)) == [f"q/b:sha256-{image}.sig"]
    assert len(removed(make_plan(index, Policy(patterns=("^r/a:1$", "^q/b:7$"))))) == 2
    assert removed(make_plan(index, Policy(patterns=("^r/a:1$",)))) == set()


def test_a_tag_of_the_server_can_be_that_of_a_signature(builder: CacheBuilder) -> None:
    image, signature = builder.image("r/a:1"), digest_of("signature")
    builder.image(f"r/a@sha256:{signature}", name=signature)
    index = known(builder.root, (f"r/a:sha256-{image}.sig", signature))
    plan = make_plan(index, Policy(patterns=("^r/a:1$",)))
    assert len(removed(plan)) == 2
    [row] = np.flatnonzero(plan.taken_by >= 0).tolist()
    assert plan.manifest_reason(row).text == "belongs-to-removed-image"


def test_twins_are_asked_for_their_own_tags_only(builder: CacheBuilder) -> None:
    image = builder.image("r/a:1", config=builder.blob(b"c"))
    builder.image("r/a:latest", config=digest_of(b"c"))
    index = known(builder.root, ("r/a:2", image))
    for pattern, gone in (
        ("latest", {"r/a:latest"}),
        ("a:1$", set()),
        ("a:[12]$", {"r/a:1"}),
        ("r/a", {"r/a:1", "r/a:latest"}),
    ):
        assert removed(make_plan(index, Policy(patterns=(pattern,)))) == gone


def test_a_tag_that_moved_keeps_the_image_that_it_names_now(builder: CacheBuilder) -> None:
    before = builder.image("r/a:stable", layers=[builder.blob(7)])
    now = builder.image("r/a:2")
    index = known(builder.root, ("r/a:stable", now))
    assert before != now
    # The file still shows the tag, but to the server it is another image.
    assert removed(make_plan(index, Policy(patterns=("a:2$",)))) == set()
    assert removed(make_plan(index, Policy(patterns=("stable",)))) == {"r/a:stable"}
    assert removed(make_plan(index, Policy(patterns=("r/a",)))) == {"r/a:stable", "r/a:2"}


def test_a_digest_url_that_only_the_server_knows_keeps_nothing(builder: CacheBuilder) -> None:
    image = builder.image("r/a:1")
    index = known(builder.root, (f"q/b@sha256:{image}", image))
    assert index.others is None
    assert removed(make_plan(index, Policy(patterns=("r/a",)))) == {"r/a:1"}


def test_where_list_and_child_were_loaded_with_one_url_the_server_changes_nothing(
    tmp_path: Path,
) -> None:
    root = unpack("loaded", tmp_path)
    without, index = scanned(root), known(root)
    assert index.others is None
    for pattern in sorted(set(without.urls(np.arange(len(without))))):
        policy = Policy(patterns=(f"^{pattern}$",))
        plan, expected = make_plan(index, policy), make_plan(without, policy)
        assert (plan.removed == expected.removed).all()
        assert plan.blobs.tolist() == expected.blobs.tolist()


def test_a_listing_shows_each_name_for_itself(builder: CacheBuilder) -> None:
    image = builder.image("r/a:1", created=OLDER)
    builder.image("r/b:1", created=OLD)
    index = known(builder.root, ("r/a:2", image))

    def listed(policy: Policy) -> list[int]:
        return list(map(int, selected_names(index, policy)))

    [a] = np.flatnonzero(index.digests[:, 0] == bytes.fromhex(image)[0]).tolist()
    assert listed(Policy()) == [0, 1, 2]
    assert listed(Policy(patterns=("a:2",))) == [2]
    assert listed(Policy(patterns=("a:1",))) == [a]
    assert listed(Policy(exclude=("a:1",))) == [1 - a, 2]
    assert listed(Policy(count=1)) == [a, 2]
    rules = (Rule("x", Policy(patterns=("a:2",))),)
    assert listed(Policy(rules=rules)) == [2]


def saved_and_replanned(
    builder: CacheBuilder, policy: Policy, entries: Known, *, allow_broken: bool = False
) -> PrunePlan:
    plan = make_plan(scanned(builder.root), policy, allow_broken=allow_broken)
    saved = decoded(b"".join(encode(plan, identify(str(builder.root)), made_by="1")))
    return replan(saved, known(builder.root, *entries))


def test_a_saved_plan_leaves_out_what_got_another_tag(builder: CacheBuilder) -> None:
    image = builder.image("r/a:1", created=OLD)
    builder.image("r/a:2", created=OLD)
    again = saved_and_replanned(builder, Policy(patterns=("a:[12]",)), (("r/a:stable", image),))
    assert removed(again) == {"r/a:2"}
    left = [one for one in again.left_out or () if one.url]
    assert [(one.url, one.reason, one.needed_by) for one in left] == [
        ("r/a:1", UNSEEN, "r/a:stable")
    ]


CHANGES: dict[str, Callable[[str, str], Known]] = {
    "the child got a tag": lambda whole, child: (("r/a:amd64", child),),
    "the list got a tag": lambda whole, child: (("r/a:stable", whole),),
}


@pytest.mark.parametrize("allow_broken", [False, True])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_saved_plan_leaves_out_a_list_or_a_child_that_got_a_tag(
    change: Callable[[str, str], Known], allow_broken: bool, builder: CacheBuilder
) -> None:
    whole, child = list_and_child(builder)
    entries = change(whole, child)
    policy = Policy(patterns=("^r/a:1$",))
    again = saved_and_replanned(builder, policy, entries, allow_broken=allow_broken)
    tagged_child = entries[0][1] == child
    assert removed(again) == ({"r/a:1"} if tagged_child else set())
    reasons = {one.path: one.reason for one in again.left_out or () if one.url}
    assert reasons[f"img/{child if tagged_child else whole}"] == UNSEEN


def test_a_saved_plan_of_an_emptied_cache_still_holds_nothing(builder: CacheBuilder) -> None:
    image = builder.image("r/a:1", created=OLD)
    plan = make_plan(scanned(builder.root), Policy(patterns=("r/a",)))
    saved = decoded(b"".join(encode(plan, identify(str(builder.root)), made_by="1")))
    (builder.root / "img" / image).unlink()
    again = replan(saved, known(builder.root, ("r/a:2", image)))
    assert not again.removed.any()
