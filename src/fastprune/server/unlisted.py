"""Image URLs that a server can know and never lists.

Stage: all that concerns a running server. Input: image URLs. Output: yes or no. Pure, no I/O.

When it starts, a server keeps each manifest by its image URL in lower case, and lists only those
whose own URL is the same. So a manifest whose URL has a capital letter, such as the tag `1.0-RC1`,
is served from memory, but no list shows it and no prune by its URL reaches it.
"""

from __future__ import annotations


def never_listed(url: str) -> bool:
    """Whether a server that knows this image URL leaves it out of its list.

    Args:
        url: As the manifest's file shows it.
    """
    return url != url.lower()
