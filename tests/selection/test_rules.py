"""The rules of a policy on caches of a few images, case by case."""

from __future__ import annotations

import pytest
from tests.support.cachebuilder import CacheBuilder, Descriptor
from tests.support.scanning import scanned

from fastprune import Policy, UsageError, make_plan
from fastprune.explanation.explaining import explain
from fastprune.index.cache_index import CacheIndex
from fastprune.selection.rules.ages import newest_pulls
from fastprune.selection.rules.tags import find_tags
from fastprune.selection.selecting import Keep, select
from fastprune.text.references import parse_reference

OLD, OLDER, NEW = "2024-01-02T00:00:00", "2024-01-01T00:00:00", "2024-01-03T00:00:00"


def urls(index: CacheIndex, policy: Policy) -> list[str]:
    return sorted(index.urls(select(index, policy).selected.nonzero()[0]))


def removed(index: CacheIndex, policy: Policy) -> list[str]:
    return sorted(index.urls(make_plan(index, policy).removed.nonzero()[0]))


def test_keep_last_orders_by_creation_then_pull_then_name(builder: CacheBuilder) -> None:
    for tag, created, pulled in (
        ("r/a:oldest", OLDER, NEW),
        ("r/a:pulled-first", OLD, OLD),
        ("r/a:a", OLD, NEW),
        ("r/a:b", OLD, NEW),
        ("r/a:newest", NEW, ""),
        ("r/a:unknown", "", ""),
        ("r/b:1", OLDER, OLDER),
        ("host:5000/r/a:1", OLDER, OLDER),
    ):
        builder.image(tag, created=created, pulled=pulled)
    index = scanned(builder.root)
    tags = find_tags(index, newest_pulls(index))
    ranks = {index.url(row): tags.rank(row) for row in range(len(index))}
    order = ["newest", "b", "a", "pulled-first", "oldest", "unknown"]
    assert ranks == {
        **{f"r/a:{tag}": rank for rank, tag in enumerate(order)},
        "r/b:1": 0,
        "host:5000/r/a:1": 0,
    }
    assert urls(index, Policy(keep_last=2)) == sorted(f"r/a:{tag}" for tag in order[2:])


@pytest.mark.parametrize("number", range(4))
def test_a_count_takes_what_can_go_even_if_it_was_pulled_with_its_list(
    number: int, builder: CacheBuilder
) -> None:
    # By digest, the child comes before the list or after it.
    child = builder.image("r/a:1-amd64", layers=[builder.blob(10 + number)], created=OLD)
    inner = builder.index("r/a:1", children=[child], created=OLD)
    builder.index("r/a:all", children=[inner], created=OLD)
    builder.image("r/b:1", layers=[builder.blob(20)], created=NEW)
    index = scanned(builder.root)
    order = ["r/a:all", "r/a:1", "r/a:1-amd64", "r/b:1"]
    for count in range(1, 5):
        assert removed(index, Policy(count=count)) == sorted(order[:count])


def test_keep_last_counts_a_list_and_its_child_of_one_tag_once(builder: CacheBuilder) -> None:
    for tag, created in (("1", OLDER), ("2", OLD), ("3", NEW)):
        child = builder.image(f"r/a:{tag}", layers=[builder.blob(10)], created=created)
        builder.index(f"r/a:{tag}", children=[child], created=created)
    assert removed(scanned(builder.root), Policy(keep_last=2)) == ["r/a:1", "r/a:1"]


def test_keep_last_alone_selects_tags_only_and_with_a_criterion_only_keeps(
    builder: CacheBuilder,
) -> None:
    builder.image("r/a:1", created=OLDER)
    builder.image("r/a:2", created=OLD)
    digest = builder.image("r/a:3", created=OLDER)
    builder.tag(digest, f"r/a@sha256:{digest}", created=OLDER)
    index = scanned(builder.root)
    assert urls(index, Policy(keep_last=1)) == ["r/a:1"]
    assert urls(index, Policy(keep_last=1, count=5)) == ["r/a:1"]
    assert urls(index, Policy(keep_last=1, created_before=NEW)) == [
        "r/a:1",
        f"r/a@sha256:{digest}",
    ]


def test_an_untagged_url_is_that_of_latest(builder: CacheBuilder) -> None:
    builder.image("r/a", created=OLDER)
    builder.image("r/a:latest", created=NEW, layers=[builder.blob(10)])
    builder.image("r/a:1", created=OLD)
    assert urls(scanned(builder.root), Policy(keep_last=1)) == ["r/a:1"]


def test_what_is_kept_keeps_its_children_though_they_are_selected(builder: CacheBuilder) -> None:
    blob = builder.blob(10)
    child = builder.image("r.io/a:1", layers=[blob])
    builder.tag(child, f"r.io/a@sha256:{child}")
    builder.index("r.io/a:1", children=[child])
    index = scanned(builder.root)
    for policy in (
        Policy(patterns=("r.io/a@",), keep_last=1),
        Policy(patterns=("r.io/a@",), keep_references=("r.io/a:1",)),
        Policy(patterns=("r.io/a@",), exclude=(":1$",)),
    ):
        plan = make_plan(index, policy)
        assert not plan.removed.any()
        assert not len(plan.blobs)


def test_a_digest_in_use_keeps_its_files_wherever_they_are(builder: CacheBuilder) -> None:
    digest = builder.image("r/a:latest")
    builder.tag(digest, "other/name:2")
    builder.image("r/b:1")
    index = scanned(builder.root)
    policy = Policy(patterns=(".",), keep_references=(f"docker.io/x/y@sha256:{digest}",))
    assert removed(index, policy) == ["r/b:1"]
    assert sorted(select(index, policy).kept_by.tolist()) == [0, Keep.IN_USE, Keep.IN_USE]


@pytest.mark.parametrize(
    "url",
    [
        "docker.io/library/nginx:latest",
        "docker.io/library/nginx",
        "docker.io/nginx:latest",
        "docker.io/nginx",
        "index.docker.io/library/nginx:latest",
        "index.docker.io/nginx",
    ],
)
def test_an_image_in_use_is_kept_whatever_its_client_left_out(
    url: str, builder: CacheBuilder
) -> None:
    builder.image(url)
    builder.image("index.docker.io/library/other:latest")
    for written in ("nginx", url, f"cache:8080/{url}"):
        policy = Policy(patterns=(".",), keep_references=parse_reference(written))
        assert urls(scanned(builder.root), policy) == ["index.docker.io/library/other:latest"]


def test_a_digest_in_use_may_be_that_of_a_config(builder: CacheBuilder) -> None:
    layer, config = builder.blob(10), builder.blob(20)
    builder.image("r/a:1", layers=[layer], config=config)
    builder.image("r/a:2", layers=[layer, config])
    lost = "ab" * 32
    builder.image("r/b:1", layers=[layer], config=lost)
    index = scanned(builder.root)
    policy = Policy(patterns=(".",), keep_references=(f"sha256:{config}", f"sha256:{lost}"))
    # As a layer it says nothing of an image.
    assert removed(index, policy) == ["r/a:2"]


def test_dangling_is_what_no_list_refers_to_and_no_list(builder: CacheBuilder) -> None:
    child, alone = (builder.image("r/a:0", layers=[builder.blob(size)]) for size in (1, 2))
    for digest in (child, alone):
        builder.tag(digest, f"r/a@sha256:{digest}")
    pinned = builder.index("r/a:0", children=[child])
    builder.tag(pinned, f"r/a@sha256:{pinned}")
    builder.image("r/a:1")
    assert urls(scanned(builder.root), Policy(dangling=True)) == [f"r/a@sha256:{alone}"]


def test_a_list_is_broken_if_it_leads_to_broken_images_only(builder: CacheBuilder) -> None:
    sound = builder.image("r/a:sound", layers=[builder.blob(1)])
    broken = builder.image("r/a:broken", layers=["ab" * 32])
    for digest in (sound, broken):
        builder.tag(digest, f"r/a@sha256:{digest}")
    builder.index("r/a:mixed", children=[sound, broken])
    inner = builder.index("r/a:lost", children=[broken, "cd" * 32])
    builder.index("r/a:nested", children=[inner])
    builder.index("r/a:empty", children=["cd" * 32])
    index = scanned(builder.root)
    assert urls(index, Policy(broken=True)) == [
        "r/a:lost",
        "r/a:nested",
        f"r/a@sha256:{broken}",
    ]
    # A list that is still useful keeps its broken child, unless --allow-broken is given.
    assert removed(index, Policy(broken=True)) == ["r/a:lost", "r/a:nested"]
    plan = make_plan(index, Policy(broken=True), allow_broken=True)
    assert len(plan.images) == 1


def test_a_shared_layer_comes_free_with_its_last_user(builder: CacheBuilder) -> None:
    shared = builder.blob(5_000)
    for tag, pulled in (("1", OLDER), ("2", OLD), ("3", NEW)):
        builder.image(f"r/a:{tag}", layers=[shared, builder.blob(100)], pulled=pulled)
    index = scanned(builder.root)
    # Each image alone frees its own layer, config and manifest: no two of them free this much.
    assert removed(index, Policy(free_bytes=5_000)) == ["r/a:1", "r/a:2", "r/a:3"]
    assert removed(index, Policy(free_bytes=100)) == ["r/a:1"]


def test_orphans_count_first(builder: CacheBuilder) -> None:
    builder.image("r/a:1")
    builder.blob(5_000)
    plan = make_plan(scanned(builder.root), Policy(free_bytes=5_000))
    assert not plan.removed.any()
    assert plan.bytes_freed == 5_000


def test_a_child_is_no_image_of_its_own_and_goes_with_its_list(builder: CacheBuilder) -> None:
    big = builder.image("r/a:1", layers=[builder.blob(5_000)], pulled=OLDER)
    builder.tag(big, f"r/a@sha256:{big}", pulled=OLDER)
    builder.index("r/a:1", children=[big], pulled=NEW)
    builder.image("r/b:1", layers=[builder.blob(6_000)], pulled=OLD)
    index = scanned(builder.root)
    # Pulled longest ago is r/b:1: the list was pulled later, and its child with it.
    assert removed(index, Policy(free_bytes=1)) == ["r/b:1"]
    assert len(removed(index, Policy(free_bytes=8_000))) == 3


def test_what_is_needed_at_second_hand_comes_free_with_the_outer_list(
    builder: CacheBuilder,
) -> None:
    child = builder.image("r/a:1", layers=[builder.blob(5_000)])
    builder.tag(child, f"r/a@sha256:{child}")
    inner = builder.index("r/a:inner", children=[child], name="00" * 32)
    builder.index("r/a:outer", children=[inner], name="ff" * 32)
    index = scanned(builder.root)
    # The inner list comes first, and stays with its child until the outer one has gone.
    assert len(removed(index, Policy(free_bytes=4_000))) == 3


def test_a_child_that_a_rule_keeps_frees_nothing(builder: CacheBuilder) -> None:
    child = builder.image("r/a:1", layers=[builder.blob(5_000)], pulled=OLD)
    builder.tag(child, f"r/a@sha256:{child}", pulled=OLD)
    builder.index("r/a:1", children=[child], pulled=OLD)
    builder.image("r/b:1", layers=[builder.blob(5_000)], pulled=NEW)
    policy = Policy(free_bytes=4_000, exclude=("r/a@",))
    assert removed(scanned(builder.root), policy) == ["r/a:1", "r/b:1"]


def test_what_a_kept_list_needs_is_not_counted(builder: CacheBuilder) -> None:
    child = builder.image("r/a:1", layers=[builder.blob(5_000)], pulled=OLDER)
    builder.tag(child, f"r/a@sha256:{child}", pulled=OLDER)
    builder.index("r/a:1", children=[child], created=NEW, pulled=OLDER)
    builder.image("r/a:0", layers=[builder.blob(100)], created=OLD, pulled=NEW)
    index = scanned(builder.root)
    # The child was pulled longest ago, but r/a:1 is kept and needs it.
    for policy in (
        Policy(patterns=(".",), keep_last=1, count=1),
        Policy(keep_last=1, free_bytes=100),
        Policy(keep_last=1, free_bytes=10**6),
    ):
        plan = make_plan(index, policy)
        assert index.urls(plan.removed.nonzero()[0]) == ["r/a:0"]
        assert not len(plan.protected)
        (row,) = (row for row in range(len(index)) if index.digest_urls[row])
        verdict = explain(index, row, plan).verdict
        assert verdict is not None
        assert (verdict.goes, verdict.reason) == (False, "needed-by-list")
        assert index.url(verdict.because_of) == "r/a:1"


def test_of_several_targets_the_largest_need_counts(builder: CacheBuilder) -> None:
    for tag in "12":
        builder.image(f"r/a:{tag}", layers=[builder.blob(1_000)], pulled=OLD)
    index = scanned(builder.root)
    assert len(removed(index, Policy(free_bytes=1, max_bytes=0))) == 2
    assert len(removed(index, Policy(free_bytes=1, max_bytes=1_000_000))) == 1
    assert len(removed(index, Policy(free_bytes=0, max_bytes=1_000_000))) == 0
    assert len(removed(index, Policy(max_bytes=0, count=1))) == 1


def test_a_target_that_is_out_of_reach_takes_all_that_may_go(builder: CacheBuilder) -> None:
    builder.image("r/a:1", layers=[Descriptor(builder.blob(1_000), 1_000)])
    builder.image("r/b:1")
    plan = make_plan(scanned(builder.root), Policy(patterns=("r/a",), free_bytes=10**6))
    assert plan.selection is not None
    assert plan.selection.target is not None
    assert len(plan.images) == 1
    assert plan.selection.target.frees == plan.bytes_freed < plan.selection.target.need


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (Policy(keep_since=OLD), "only say what to keep"),
        (Policy(keep_references=("r.io/a:1",)), "only say what to keep"),
        (Policy(exclude=("x",)), "only say what to keep"),
        (Policy(keep_last=0), "--keep-last 0: must be at least 1"),
        (Policy(max_bytes=-1), "--max-size -1: can't be negative"),
        (Policy(free_bytes=-1), "--free -1: can't be negative"),
        (Policy(patterns=("x",), keep_since="yesterday"), "not a date and time"),
        (Policy(patterns=("x",), keep_references=("nginx",)), "not a reference in full: 'nginx'"),
        (Policy(patterns=("x",), keep_references=("a b",)), "not a reference in full: 'a b'"),
        (Policy(orphans_only=True, keep_last=1), "can't be combined"),
    ],
)
def test_a_policy_that_can_not_be_followed_is_refused(policy: Policy, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        policy.check()


def test_explain_says_which_rule_keeps_an_image(builder: CacheBuilder) -> None:
    for number, tag in enumerate(("1", "2", "3")):
        builder.image(f"docker.io/library/nginx:{tag}", created=f"2024-01-0{number + 1}T00:00:00")
    index = scanned(builder.root)
    rows = {index.url(row): row for row in range(len(index))}

    def verdict(tag: str, policy: Policy) -> tuple[bool, str, str]:
        plan = make_plan(index, policy)
        found = explain(index, rows[f"docker.io/library/nginx:{tag}"], plan).verdict
        assert found is not None
        return found.goes, found.reason, found.details

    assert verdict("2", Policy(keep_last=2)) == (
        False,
        "keep-last",
        "its tag is the 2nd newest of docker.io/library/nginx, and 2 are kept",
    )
    assert verdict("3", Policy(keep_last=2))[2].startswith("its tag is the newest of ")
    assert verdict("1", Policy(keep_last=2)) == (True, "selected", "not-among-last")
    everything = Policy(patterns=(".",), keep_since="2024-01-02T00:00:00", exclude=("3$",))
    assert verdict("3", everything) == (False, "excluded", "")
    assert verdict("2", everything)[:2] == (False, "keep-within")
    assert verdict("1", everything) == (True, "selected", "pattern")
    named = Policy(patterns=(".",), keep_references=("docker.io/library/nginx:1",))
    assert verdict("1", named) == (False, "keep-from", "")
    assert verdict("3", Policy(free_bytes=1)) == (False, "older-ones-are-enough", "")
