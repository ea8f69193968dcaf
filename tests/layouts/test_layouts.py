"""A layout is a value: mypy holds it against the protocol, name by name."""

from __future__ import annotations

import pytest
from tests.support.cachebuilder import CacheBuilder

from fastprune.layouts.layout import Layout
from fastprune.layouts.ociregistry import OCIREGISTRY

LAYOUTS: dict[str, Layout] = {"ociregistry": OCIREGISTRY}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_names_its_folders_and_reads_what_is_in_them(
    name: str, builder: CacheBuilder
) -> None:
    layout = LAYOUTS[name]
    image = builder.image("r/a:1", layers=[builder.blob(10)])
    folder = layout.manifest_folders[0]
    assert {path.name for path in builder.root.iterdir()} == {
        *layout.manifest_folders,
        layout.blob_folder,
    }
    assert layout.parse((builder.root / folder / image).read_bytes()).url == "r/a:1"
