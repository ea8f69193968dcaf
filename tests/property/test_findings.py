"""`verify` finds all damage in a random cache, and nothing else, as a slow oracle says."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import event, given
from hypothesis import strategies as st
from tests.property.profile import examples
from tests.support.cachebuilder import snapshot
from tests.support.damage import Damage, SoundCache, befall, build_sound, damages, sound_caches
from tests.support.verify_oracle import expected_findings, found_in

from fastprune import Findings
from fastprune.executors.inline import InlineExecutor
from fastprune.text.escaping import document_lines
from fastprune.verification.report import as_document
from fastprune.verification.verifier import VerifyOptions, verify_cache


@contextmanager
def damaged(sketch: SoundCache, what: tuple[Damage, ...]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "cache"
        build_sound(sketch, root)
        for one in what:
            befall(root, one)
            event(one.kind)
        yield root


def verify(root: Path, *, content: bool = False) -> Findings:
    return verify_cache(str(root), lambda _: InlineExecutor(), VerifyOptions(content=content))


@examples(150)
@given(sketch=sound_caches, what=damages, content=st.booleans())
def test_findings_are_those_of_the_oracle(
    sketch: SoundCache, what: tuple[Damage, ...], content: bool
) -> None:
    with damaged(sketch, what) as root:
        before = snapshot(root)
        expected = expected_findings(root, content=content)
        findings = verify(root, content=content)
        document = json.loads("\n".join(document_lines(as_document(findings, summary=False))))
        assert found_in(document) == expected
        assert findings.is_clean == expected.is_clean
        assert findings.exit_code == (0 if expected.is_clean else 3)
        assert snapshot(root) == before
