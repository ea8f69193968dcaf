"""The HTML report: it loads nothing, its figures are right, and it runs no text from a cache."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from tests.property.indexing import index_of
from tests.property.profile import examples
from tests.support.cachebuilder import CacheBuilder
from tests.support.strategies import CacheSketch, Request, caches, requests

from fastprune.cli.html_page import cutoffs, write_page
from fastprune.executors.inline import InlineExecutor
from fastprune.plan.prune_plan import PrunePlan, make_plan
from fastprune.policy.policy import Policy
from fastprune.scanning.scanner import ScanOptions
from fastprune.text.escaping import printable
from fastprune.usage.page import PAGE_DAYS, page_document
from fastprune.usage.page_template import embedded_json, render_page
from fastprune.usage.rows import By
from fastprune.usage.surveying import Survey, survey_cache, survey_of
from fastprune.usage.tree import MOST, Most

HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<!--<script>",
    "-->",
    "]]>&quot;&lt;b&gt;'\"`${alert(1)}",
    "\u2028alert(1)\u2029",
    "\u202egnp.exe",
    "\x00\x1b[31m\x9f",
    "{script}{report}{policy}{style}",
    "constructor/__proto__",
)
NOW = 1_700_000_000


class Page(HTMLParser):
    """The elements of a page, and what is in its scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {"script": [], "style": []}
        self._open = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = tag
        if tag in self.texts:
            self.texts[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open in self.texts:
            self.texts[self._open][-1] += data

    @property
    def report(self) -> Any:
        return json.loads(self.texts["script"][0])

    @property
    def policy(self) -> str:
        return next(
            attributes["content"] or ""
            for _, attributes in self.tags
            if attributes.get("http-equiv") == "Content-Security-Policy"
        )


def document_of(survey: Survey, plan: PrunePlan | None = None, most: Most = MOST) -> dict[str, Any]:
    return page_document(
        [
            survey.usage(By.registry, apart=False),
            survey.usage(By.repository, depth=2, apart=False),
            survey.usage(By.repository, apart=False),
            survey.usage(By.image, apart=False),
        ],
        survey.usage(By.repository),
        survey.ages(),
        {days: NOW - 86_400 * days for days in PAGE_DAYS},
        survey.blob_bytes,
        plan=plan,
        now=NOW,
        most=most,
        scanned="2023-11-14 22:13",
        command="du",
        version="0",
    )


def page_of(names: tuple[str, ...], folder: Path) -> Page:
    """The page of a cache with one image of each name."""
    builder = CacheBuilder(folder)
    for name in names:
        builder.image(f"{name}/repository:1", layers=[builder.blob(100)], folder="img")
        builder.image(f"registry.example/{name}:1", folder="img")
        builder.image(f"registry.example/tags:{name}", folder="img")
    survey = survey_cache(str(folder), Policy(), lambda _: InlineExecutor(), ScanOptions())
    return Page(render_page(document_of(survey)).decode())


@pytest.fixture(scope="module")
def innocent(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return page_of(("docker.io", "quay.io"), tmp_path_factory.mktemp("innocent"))


def test_a_page_holds_its_report_whole(innocent: Page) -> None:
    report = innocent.report
    assert report["totals"]["images"] == 6
    assert [child["n"] for child in report["tree"]["c"]] == [
        "registry.example",
        "docker.io",
        "quay.io",
    ]


def test_hostile_names_are_text_of_the_report_and_nothing_else(
    innocent: Page, tmp_path: Path
) -> None:
    page = page_of(HOSTILE, tmp_path)
    assert page.tags == innocent.tags
    assert page.texts["script"][1:] == innocent.texts["script"][1:]
    assert page.texts["style"] == innocent.texts["style"]
    names = {row[0] for row in page.report["savings"]["images"]["rows"]}
    assert {printable(f"registry.example/{name}:1") for name in HOSTILE} <= names
    assert all(name.isprintable() for name in names)


def test_embedded_json_is_the_same_value_without_markup() -> None:
    value = {"<b>": ["&amp;", "\u2028\u2029", *HOSTILE]}
    text = embedded_json(value)
    assert json.loads(text) == value
    assert not set(text) & {"<", ">", "&", "\u2028", "\u2029"}


def test_the_policy_allows_this_script_and_this_style_and_nothing_else(innocent: Page) -> None:
    (_, script), (style,) = innocent.texts["script"], innocent.texts["style"]
    assert innocent.policy == (
        f"default-src 'none'; script-src '{source(script)}'; style-src '{source(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    # The policy must come before the script and the style that it is about.
    tags = [tag for tag, _ in innocent.tags]
    assert tags.index("meta") < tags.index("style") < tags.index("script")


def source(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_the_page_loads_nothing_and_has_no_code_in_its_markup(innocent: Page) -> None:
    for tag, attributes in innocent.tags:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base", "form")
        assert not {"src", "href", "style", "srcdoc", "action"} & attributes.keys()
        assert not [name for name in attributes if name.startswith("on")]
    (style,) = innocent.texts["style"]
    assert "url(" not in style
    assert "@import" not in style
    assert re.findall("https?://[^\"' ]+", innocent.texts["script"][1]) == [
        "http://www.w3.org/2000/svg"
    ]


def parts(suffix: str) -> Iterator[tuple[str, str]]:
    for part in resources.files("fastprune.usage.html").iterdir():
        if part.name.endswith(suffix):
            yield part.name, part.read_text("utf-8")


def test_the_scripts_make_text_of_text(innocent: Page) -> None:
    scripts = dict(parts(".js"))
    assert len(scripts) >= 5
    for name, text in scripts.items():
        for word in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval("):
            assert word not in text, name
        for word in ("fetch(", "XMLHttpRequest", "import(", "new Function", "localStorage"):
            assert word not in text, name
        # All of them are in the page, and none ends it.
        assert text in innocent.texts["script"][1]
        assert "</script" not in text


def test_every_element_that_is_asked_for_by_its_id_is_there(innocent: Page) -> None:
    ids = {attributes["id"] for _, attributes in innocent.tags if "id" in attributes}
    wanted = re.findall(r'getElementById\("([^"]+)"\)', innocent.texts["script"][1])
    assert set(wanted) <= ids
    labelled = {one.get("aria-labelledby") for _, one in innocent.tags} - {None}
    assert labelled <= ids


def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("c", ()):
        yield from nodes(child)


def assert_children_add_up(tree: dict[str, Any]) -> None:
    for node in nodes(tree):
        if "c" in node:
            assert sum(child["b"] for child in node["c"]) == node["b"]
            assert sum(child.get("g", 0) for child in node["c"]) == node.get("g", 0)
        assert 0 <= node.get("g", 0) <= node["b"]


@examples(60)
@given(sketch=caches(), request=requests())
def test_the_children_of_a_node_add_up_to_it(sketch: CacheSketch, request: Request) -> None:
    index = index_of(sketch)
    sizes = {bytes.fromhex(name): size for name, size in sketch.blobs}
    digests = [one.tobytes() for one in index.blob_digests[: index.blobs_present]]
    blob_bytes = np.array([sizes[one] for one in digests], dtype=np.int64)
    policy = Policy(request.patterns or (".",), request.exclude, request.created_before)
    plan = make_plan(index, policy)
    plan = plan.measured(blob_bytes[plan.blobs])
    document = document_of(survey_of(index, Policy(), blob_bytes), plan)
    tree = document["tree"]
    assert_children_add_up(tree)
    assert tree["b"] == int(blob_bytes.sum()) + int(index.file_sizes.sum())
    assert tree.get("g", 0) == plan.bytes_freed == document["goes"]["bytes"]
    for point in document["what_if"]:
        assert point["bytes_left"] + point["bytes_freed"] == tree["b"]


def test_what_is_too_much_to_show_is_summed(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path)
    shared = builder.blob(50)
    for number in range(60):
        layers = [builder.blob(100 + number), shared]
        builder.image(f"r{number % 5}.example/a{number % 20}:{number}", layers=layers)
    survey = survey_cache(str(tmp_path), Policy(), lambda _: InlineExecutor(), ScanOptions())
    whole = document_of(survey)["tree"]
    assert sum(1 for _ in nodes(whole)) > 60
    most = Most(registries=3, namespaces=9, repositories=5, images=2)
    tree = document_of(survey, most=most)["tree"]
    assert_children_add_up(tree)
    assert tree["b"] == whole["b"]
    assert sum(1 for _ in nodes(tree)) < 30
    assert "2 more registries" in [node["n"] for node in nodes(tree)]
    most = most._replace(registries=4, images=1)
    names = [node["n"] for node in nodes(document_of(survey, most=most)["tree"])]
    assert "1 more registry" in names
    assert not [name for name in names if name.startswith("1 ") and name.endswith("s")]


def test_a_namespace_is_a_step_where_it_holds_several_repositories(tmp_path: Path) -> None:
    builder = CacheBuilder(tmp_path)
    for name in ("library/a", "library/b", "alone/c", "bare"):
        builder.image(f"docker.io/{name}:1")
    survey = survey_cache(str(tmp_path), Policy(), lambda _: InlineExecutor(), ScanOptions())
    (registry,) = document_of(survey)["tree"]["c"]
    names = {node["n"]: [child["n"] for child in node["c"]] for node in registry["c"]}
    assert sorted(names) == ["docker.io/alone/c", "docker.io/bare", "docker.io/library"]
    assert sorted(names["docker.io/library"]) == ["docker.io/library/a", "docker.io/library/b"]
    assert names["docker.io/alone/c"] == [":1"]


def test_a_page_is_written_whole(tmp_path: Path) -> None:
    root = tmp_path / "cache"
    CacheBuilder(root).image("docker.io/library/a:1")
    survey = survey_cache(str(root), Policy(), lambda _: InlineExecutor(), ScanOptions())
    target = tmp_path / "page.html"
    target.write_text("before")
    write_page(str(target), survey, None, "du", "UTC")
    page = Page(target.read_text("utf-8"))
    assert page.report["goes"] is None
    assert page.report["totals"]["images"] == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "page.html"]


def test_the_days_of_the_curve_begin_when_they_should() -> None:
    from datetime import UTC, datetime

    now = datetime(2024, 3, 1, tzinfo=UTC)
    found = cutoffs((1, 365), now, "UTC")
    assert {days: (int(now.timestamp()) - began) // 86_400 for days, began in found.items()} == {
        1: 1,
        365: 365,
    }
