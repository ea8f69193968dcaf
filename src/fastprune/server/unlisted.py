"""Image URLs that a server can know without listing them, and those that it can't remove safely.

Stage: all that concerns a running server. Input: image URLs. Output: yes or no. Pure, no I/O.

When it starts, a server keeps each manifest by its image URL in lower case, and lists only those
whose own URL is the same. So a manifest whose URL has a capital letter, such as the tag `1.0-RC1`,
is served from memory, but no list shows it and no prune by its URL reaches it.

Measured with ociregistry 1.17.0: asked to prune a URL with a capital letter, it removes the files
and goes on serving the manifest. Asked to prune a URL whose host has no dot, such as
`localhost:5000/x:1`, it keeps the manifest and removes its blobs.
"""

from __future__ import annotations


def never_listed(url: str) -> bool:
    """Whether a server that knows this image URL, as a manifest's file shows it, never lists it."""
    return url != url.lower()


def never_to_prune(url: str) -> bool:
    """Whether a server must not be asked to prune a URL that it lists: it would do half of it."""
    host, slash, _ = url.partition("/")
    return never_listed(url) or not slash or "." not in host
