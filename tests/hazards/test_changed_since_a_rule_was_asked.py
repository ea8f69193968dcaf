"""A plan by any kind of rule is saved, the cache changes, the plan is applied.

Whatever selected something, what is needed again stays: an image that a new tag leads to, a
manifest that was pulled again, a blob that a new manifest uses.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.hazards.test_changed_since_the_plan import apply, saved_by
from tests.support.cachebuilder import CacheBuilder, files

from fastprune import Policy, Rule, SavedPlan
from fastprune.layouts.default import DEFAULT_LAYOUT
from fastprune.policy.file_loading import load_policy_file

LATER = "2025-01-01T00:00:00"
SUMMER = "2024-06-01T00:00:00"

NIGHTLY = """\
[policy]
exclude = "r/k:"
max-size = "2500B"

[rules.tags]
pattern = "^r/a:"
keep-last = 1

[rules.odd]
dangling = true
"""

POLICIES: dict[str, Policy] = {
    "pattern": Policy(patterns=("^r/",), exclude=("r/k",)),
    "created before": Policy(created_before=SUMMER),
    "pulled before": Policy(pulled_before=SUMMER),
    "dangling": Policy(dangling=True),
    "broken": Policy(broken=True),
    "keep last": Policy(keep_last=1),
    "keep since": Policy(patterns=(".",), keep_since=SUMMER),
    "keep from": Policy(patterns=(".",), keep_references=("docker.io/r/k:1",)),
    "count": Policy(count=3),
    "largest size": Policy(max_bytes=2500),
    "bytes to free": Policy(free_bytes=2500),
    "rules": Policy(
        rules=(
            Rule("old", Policy(created_before=SUMMER, keep_last=1)),
            Rule("broken", Policy(broken=True)),
        ),
        free_bytes=4000,
    ),
}


@pytest.fixture
def builder(tmp_path: Path) -> CacheBuilder:
    """Two tags with a child each, an image by digest, one without its layer, and a new one."""
    builder = CacheBuilder(tmp_path / "cache")
    for tag in ("1", "2"):
        digest = f"1{tag}" * 32
        child = builder.image(f"r/a@sha256:{digest}", layers=[builder.blob(1000)])
        builder.index(f"r/a:{tag}", children=[child, "ee" * 32])
    builder.image("r/d@sha256:" + "dd" * 32, layers=[builder.blob(900)])
    builder.image("r/e:1", layers=["ab" * 32])
    builder.image("docker.io/r/k:1", layers=[builder.blob(800)], created=LATER)
    return builder


def planned_image(plan: SavedPlan, builder: CacheBuilder) -> str:
    """The digest of an image that is to go."""
    names = {digest.tobytes().hex() for digest in plan.manifests.digests}
    return min(str(name) for name in names if '"layers":[{' in text_of(builder, name))


def text_of(builder: CacheBuilder, name: str) -> str:
    (path,) = (path for path in files(builder.root) if path.endswith(name))
    return (builder.root / path).read_text("utf-8").replace(" ", "")


def a_new_tag_leads_to_it(plan: SavedPlan, builder: CacheBuilder) -> set[str]:
    name = planned_image(plan, builder)
    new = builder.index("r/new:1", children=[name], created=LATER)
    return {f"img/{name}", f"img/{new}", *blobs_of(builder, name)}


def it_was_pulled_again(plan: SavedPlan, builder: CacheBuilder) -> set[str]:
    name = planned_image(plan, builder)
    path = builder.root / "img" / name
    before = path.read_text("utf-8")
    after = before.replace('"pulled":"2024', '"pulled":"2031').replace(
        '"pulled": "2024', '"pulled": "2031'
    )
    assert after != before
    path.write_text(after, "utf-8")
    return {f"img/{name}", *blobs_of(builder, name)}


def a_new_image_uses_a_blob_of_it(plan: SavedPlan, builder: CacheBuilder) -> set[str]:
    blobs = [digest.tobytes().hex() for digest in plan.blobs]
    new = builder.image("r/new:1", layers=blobs[:1], created=LATER)
    return {f"img/{new}", f"blobs/{blobs[0]}"}


def blobs_of(builder: CacheBuilder, name: str) -> set[str]:
    text = text_of(builder, name)
    return {path for path in files(builder.root) if path.partition("/")[2] in text} - {
        f"img/{name}"
    }


CHANGES = (a_new_tag_leads_to_it, it_was_pulled_again, a_new_image_uses_a_blob_of_it)
Change = Callable[[SavedPlan, CacheBuilder], set[str]]


def check(plan: SavedPlan, change: Change, builder: CacheBuilder) -> None:
    assert len(plan.manifests.digests)
    assert len(plan.blobs)
    needed = change(plan, builder)
    before = files(builder.root)
    named = {digest.tobytes().hex() for digest in (*plan.manifests.digests, *plan.blobs)}
    report = apply(plan, builder.root)
    assert needed <= files(builder.root)
    assert {path.partition("/")[2] for path in before - files(builder.root)} <= named
    assert report.exit_code == 3
    assert report.plan.left_out


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("kind", POLICIES)
def test_what_is_needed_again_stays_whatever_rule_selected_it(
    kind: str, change: Change, builder: CacheBuilder
) -> None:
    check(saved_by(builder.root, POLICIES[kind]), change, builder)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_the_same_by_a_policy_file(change: Change, builder: CacheBuilder, tmp_path: Path) -> None:
    path = tmp_path / "nightly.toml"
    path.write_text(NIGHTLY, "utf-8")
    now = datetime(2026, 1, 1, tzinfo=UTC)
    found = load_policy_file(
        str(path), now, layout=DEFAULT_LAYOUT, root=str(builder.root), zone=None
    )
    check(saved_by(builder.root, found.policy), change, builder)
