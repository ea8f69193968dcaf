"""References as people and Kubernetes write them, completed as Docker completes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.property.profile import examples

from fastprune import Policy, UsageError
from fastprune.text.references import parse_reference, parse_references

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("nginx", ("docker.io/library/nginx:latest",)),
        ("nginx:1.25", ("docker.io/library/nginx:1.25",)),
        ("library/nginx:1.25", ("docker.io/library/nginx:1.25",)),
        ("docker.io/nginx", ("docker.io/library/nginx:latest",)),
        ("docker.io/library/nginx:1.25", ("docker.io/library/nginx:1.25",)),
        ("index.docker.io/library/nginx", ("docker.io/library/nginx:latest",)),
        ("calico/typha:v3.27.0", ("docker.io/calico/typha:v3.27.0",)),
        ("a/b/c", ("docker.io/a/b/c:latest",)),
        ("quay.io/b/c", ("quay.io/b/c:latest",)),
        ("host:5000/x", ("host:5000/x:latest",)),
        ("host:5000/x:1", ("host:5000/x:1",)),
        ("host:5000", ("docker.io/library/host:5000",)),
        ("localhost/x", ("localhost/x:latest",)),
        ("HOST/x", ("HOST/x:latest",)),
        ("[2001:db8::1]:5000/x", ("[2001:db8::1]:5000/x:latest",)),
        ("a__b/c-d_e.f", ("docker.io/a__b/c-d_e.f:latest",)),
        (f"nginx@{DIGEST}", (f"docker.io/library/nginx@{DIGEST}",)),
        (
            f"quay.io/b/c:1@{DIGEST}",
            ("quay.io/b/c:1", f"quay.io/b/c@{DIGEST}"),
        ),
        (f"docker-pullable://nginx@{DIGEST}", (f"docker.io/library/nginx@{DIGEST}",)),
        (f"docker://{DIGEST}", (DIGEST,)),
        (DIGEST, (DIGEST,)),
        (DIGEST.removeprefix("sha256:"), (DIGEST,)),
        # Through a registry that mirrors others.
        (
            "cache:8080/docker.io/nginx:1",
            ("cache:8080/docker.io/nginx:1", "docker.io/library/nginx:1"),
        ),
        (
            f"cache:8080/quay.io/b/c@{DIGEST}",
            (f"cache:8080/quay.io/b/c@{DIGEST}", f"quay.io/b/c@{DIGEST}"),
        ),
    ],
)
def test_a_reference_is_completed(text: str, meaning: tuple[str, ...]) -> None:
    assert parse_reference(text) == meaning


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "@", "/", "nginx:", "nginx@", "nginx:1:2", "Nginx", "docker.io/Nginx"),
        *("a//b", "/a", "a/", "nginx:-1", "nginx:" + "1" * 129, "ngi nx", "nginx,redis"),
        *("nginx@sha256:12", f"nginx@{DIGEST.upper()}", f"@{DIGEST}", f"nginx@{DIGEST}0"),
        *("nginx@md5:0123", "-nginx", "a..b", "a___b", "host:port/x", "https://quay.io/x"),
        *('"nginx"', "{nginx}", "<none>", "../x", "é", "a" * 250),
    ],
)
def test_what_is_no_reference_is_refused_with_its_line(text: str) -> None:
    assert parse_reference(text) == ()
    if text and " " not in text:
        with pytest.raises(UsageError, match=r"^--keep-from x, line 3: not an image reference: "):
            list(parse_references(f"nginx\n# some\n{text}\n", "--keep-from x"))


@examples(200)
@given(
    st.lists(
        st.sampled_from(["a", "b1", "docker.io", "h:5", "localhost", "UP", "library", "-", ""]),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(["", ":1", ":latest", f"@{DIGEST}", f":1@{DIGEST}", ":", "@"]),
)
def test_what_a_reference_means_is_in_full(parts: list[str], tail: str) -> None:
    for meaning in parse_reference("/".join(parts) + tail):
        assert meaning in parse_reference(meaning)
        Policy(keep_references=(meaning,)).check_values()
