"""The layout that is taken where none is given: the one place that picks it by name."""

from __future__ import annotations

from fastprune.layouts.layout import Layout
from fastprune.layouts.ociregistry import OCIREGISTRY

DEFAULT_LAYOUT: Layout = OCIREGISTRY
