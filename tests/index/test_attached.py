"""Tags that belong to an image: signatures, attestations and referrers, case by case."""

from __future__ import annotations

import pytest
from tests.support.cachebuilder import CacheBuilder
from tests.support.scanning import scanned

from fastprune import Policy, Rule, make_plan
from fastprune.explanation.explaining import explain
from fastprune.index.cache_index import CacheIndex
from fastprune.plan.prune_plan import PrunePlan, Reason

DAYS = tuple(f"2024-01-0{day}T00:00:00" for day in range(1, 10))
SUFFIXES = (".sig", ".att", ".sbom", "")


def urls_of(index: CacheIndex, policy: Policy, *, allow_broken: bool = False) -> list[str]:
    plan = make_plan(index, policy, allow_broken=allow_broken)
    return sorted(index.urls(plan.removed.nonzero()[0]))


def row_of(index: CacheIndex, url: str) -> int:
    (row,) = (row for row in range(len(index)) if index.url(row) == url)
    return row


def signed(builder: CacheBuilder, suffix: str = ".sig", *, later: int = 4) -> dict[str, str]:
    """v1, v2 and v3, each signed so many days later: the URL of each signature by tag."""
    signatures = {}
    for number, tag in enumerate(("v1", "v2", "v3")):
        layer = builder.blob(100 + number)
        digest = builder.image(
            f"r.io/app:{tag}", layers=[layer], created=DAYS[number], pulled=DAYS[number]
        )
        signatures[tag] = f"r.io/app:sha256-{digest}{suffix}"
    for number, url in enumerate(signatures.values()):
        layer = builder.blob(200 + number)
        builder.image(url, layers=[layer], created=DAYS[later + number], pulled=DAYS[number])
    return signatures


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_keep_last_counts_images_and_not_what_belongs_to_them(
    suffix: str, builder: CacheBuilder
) -> None:
    signatures = signed(builder, suffix)
    index = scanned(builder.root)
    assert urls_of(index, Policy(keep_last=2)) == sorted(["r.io/app:v1", signatures["v1"]])
    assert urls_of(index, Policy(keep_last=3)) == []


def test_keep_last_of_a_rule_counts_them_no_more(builder: CacheBuilder) -> None:
    signatures = signed(builder)
    rule = Rule("ci", Policy(patterns=("r.io/app:v",), keep_last=2))
    index = scanned(builder.root)
    assert urls_of(index, Policy(rules=(rule,))) == sorted(["r.io/app:v1", signatures["v1"]])


@pytest.mark.parametrize(
    "keeping",
    [
        {"keep_references": ("r.io/app:v3",)},
        {"exclude": (":v3$",)},
        {"keep_since": DAYS[2]},
    ],
)
def test_what_keeps_an_image_keeps_its_signature(
    keeping: dict[str, tuple[str, ...]], builder: CacheBuilder
) -> None:
    # Each signature is as old as its image, so only v3 and its signature are young.
    signatures = signed(builder, later=0)
    index = scanned(builder.root)
    expected = sorted(["r.io/app:v1", "r.io/app:v2", signatures["v1"], signatures["v2"]])
    assert urls_of(index, Policy(patterns=(".",), **keeping)) == expected  # type: ignore[arg-type]


def test_a_signature_goes_with_its_image_and_not_alone(builder: CacheBuilder) -> None:
    signatures = signed(builder)
    index = scanned(builder.root)
    pair = sorted(["r.io/app:v1", signatures["v1"]])
    for policy in (
        Policy(count=1),
        Policy(free_bytes=1),
        Policy(patterns=(":v1$",)),
        Policy(created_before=DAYS[1]),
        Policy(pulled_before=DAYS[1]),
    ):
        assert urls_of(index, policy) == pair
    # No pattern takes it from an image that stays, unless --allow-broken is given.
    named = Policy(patterns=(r"\.sig$",))
    assert urls_of(index, named) == []
    assert len(make_plan(index, named).protected) == 3
    assert urls_of(index, named, allow_broken=True) == sorted(signatures.values())


def test_the_verification_of_a_signature_is_a_pull_of_its_image(builder: CacheBuilder) -> None:
    digest = builder.image("r.io/app:v1", created=DAYS[0], pulled=DAYS[0])
    signature = f"r.io/app:sha256-{digest}.sig"
    builder.image(signature, layers=[builder.blob(10)], created=DAYS[0], pulled=DAYS[5])
    index = scanned(builder.root)
    assert urls_of(index, Policy(pulled_before=DAYS[3])) == []
    assert urls_of(index, Policy(pulled_before=DAYS[6])) == sorted(["r.io/app:v1", signature])


def test_a_signature_may_be_of_a_child_and_be_signed_itself(builder: CacheBuilder) -> None:
    child = builder.image("r.io/app:v1", layers=[builder.blob(1)], created=DAYS[0])
    builder.tag(child, f"r.io/app@sha256:{child}", created=DAYS[0])
    builder.index("r.io/app:v1", children=[child], created=DAYS[0])
    attestation = f"r.io/app:sha256-{child}.att"
    digest = builder.image(attestation, layers=[builder.blob(2)], created=DAYS[1])
    seal = f"r.io/app:sha256-{digest}.sig"
    builder.image(seal, layers=[builder.blob(3)], created=DAYS[2])
    builder.image("r.io/app:v2", layers=[builder.blob(4)], created=DAYS[3])
    index = scanned(builder.root)
    gone = sorted(["r.io/app:v1", f"r.io/app@sha256:{child}", attestation, seal])
    assert urls_of(index, Policy(keep_last=1)) == gone
    assert urls_of(index, Policy(patterns=("sha256",), exclude=("app:v1",))) == []


def test_referrers_by_their_tag_are_an_index_with_children(builder: CacheBuilder) -> None:
    image = builder.image("r.io/app:v1", layers=[builder.blob(1)], created=DAYS[0])
    signature = builder.image("r.io/app:v1", layers=[builder.blob(2)], created=DAYS[4])
    builder.tag(signature, f"r.io/app@sha256:{signature}", created=DAYS[4])
    builder.tag(image, "r.io/app:v1", created=DAYS[0])
    referrers = f"r.io/app:sha256-{image}"
    builder.index(referrers, children=[signature], created=DAYS[4])
    builder.image("r.io/app:v2", layers=[builder.blob(4)], created=DAYS[3])
    index = scanned(builder.root)
    gone = sorted(["r.io/app:v1", referrers, f"r.io/app@sha256:{signature}"])
    assert urls_of(index, Policy(keep_last=1)) == gone


def test_a_dangling_image_takes_its_signature_along(builder: CacheBuilder) -> None:
    digest = builder.image("r.io/app:old", created=DAYS[0])
    builder.tag(digest, f"r.io/app@sha256:{digest}", created=DAYS[0])
    signature = f"r.io/app:sha256-{digest}.sig"
    builder.image(signature, layers=[builder.blob(1)], created=DAYS[0])
    index = scanned(builder.root)
    assert urls_of(index, Policy(dangling=True)) == sorted([f"r.io/app@sha256:{digest}", signature])


def test_a_broken_signature_does_not_make_its_image_broken(builder: CacheBuilder) -> None:
    digest = builder.image("r.io/app:v1", created=DAYS[0])
    builder.image(f"r.io/app:sha256-{digest}.sig", layers=["ab" * 32], created=DAYS[0])
    index = scanned(builder.root)
    assert urls_of(index, Policy(broken=True)) == []


@pytest.mark.parametrize("other", ["elsewhere/app", "host:5000/app", "r.io/app/sub"])
def test_a_tag_in_another_repository_belongs_to_nothing_and_stays_with_keep_last(
    other: str, builder: CacheBuilder
) -> None:
    digest = builder.image("r.io/app:v1", created=DAYS[0])
    stray = f"{other}:sha256-{digest}.sig"
    builder.image(stray, layers=[builder.blob(1)], created=DAYS[0])
    index = scanned(builder.root)
    assert not index.attached.any()
    assert urls_of(index, Policy(patterns=("r.io/app:v1$",))) == ["r.io/app:v1"]
    assert urls_of(index, Policy(keep_last=1)) == []
    assert urls_of(index, Policy(created_before=DAYS[1], keep_last=1)) == []
    # Without --keep-last it goes like anything else.
    assert urls_of(index, Policy(created_before=DAYS[1])) == sorted(["r.io/app:v1", stray])


def test_docker_hub_is_the_same_repository_however_it_is_written(builder: CacheBuilder) -> None:
    digest = builder.image("docker.io/library/nginx:1", created=DAYS[0])
    signature = f"index.docker.io/nginx:sha256-{digest}.sig"
    builder.image(signature, layers=[builder.blob(1)], created=DAYS[0])
    index = scanned(builder.root)
    assert urls_of(index, Policy(patterns=("nginx:1$",))) == sorted(
        ["docker.io/library/nginx:1", signature]
    )


@pytest.mark.parametrize(
    "tag",
    [
        "sha256-" + "a" * 63,
        "sha256-" + "A" * 64,
        "sha256-" + "a" * 64 + "-amd64",
        "md5-" + "a" * 64,
        "v-sha256-" + "a" * 64,
    ],
)
def test_a_tag_of_another_form_is_a_version(tag: str, builder: CacheBuilder) -> None:
    builder.image(f"r.io/app:{tag}", created=DAYS[0])
    builder.image("r.io/app:v2", layers=[builder.blob(1)], created=DAYS[1])
    assert urls_of(scanned(builder.root), Policy(keep_last=1)) == [f"r.io/app:{tag}"]


def test_a_tag_of_a_longer_digest_is_no_version_either(builder: CacheBuilder) -> None:
    builder.image("r.io/app:sha512-" + "a" * 64, created=DAYS[1])
    builder.image("r.io/app:v2", layers=[builder.blob(1)], created=DAYS[0])
    assert urls_of(scanned(builder.root), Policy(keep_last=1)) == []


def test_explain_names_the_image_that_a_tag_belongs_to(builder: CacheBuilder) -> None:
    signatures = signed(builder)
    index = scanned(builder.root)

    def verdict(tag: str, plan: PrunePlan) -> tuple[bool, str, str]:
        found = explain(index, row_of(index, signatures[tag]), plan).verdict
        assert found is not None
        return found.goes, found.reason, index.url(found.because_of)

    plan = make_plan(index, Policy(keep_last=2))
    assert verdict("v1", plan) == (True, "belongs-to-removed-image", "r.io/app:v1")
    assert verdict("v3", plan) == (False, "belongs-to-kept-image", "r.io/app:v3")
    assert plan.manifest_reason(row_of(index, signatures["v1"])) is Reason.ATTACHED
    named = make_plan(index, Policy(patterns=("sha256-",)))
    assert verdict("v2", named) == (False, "belongs-to-kept-image", "r.io/app:v2")


def test_explain_says_that_the_image_of_a_tag_is_not_cached(builder: CacheBuilder) -> None:
    stray = "r.io/app:sha256-" + "ab" * 32 + ".sig"
    builder.image(stray, created=DAYS[0])
    index = scanned(builder.root)
    plan = make_plan(index, Policy(keep_last=1))
    verdict = explain(index, row_of(index, stray), plan).verdict
    assert verdict is not None
    assert (verdict.goes, verdict.reason) == (False, "keep-last")
    assert verdict.details == "its tag belongs to an image that is not cached"
