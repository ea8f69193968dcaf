"""The protocol of a running server, as far as fastprune uses it.

Stage: all that concerns a running server. Input: image URLs. Output: what the server lists. The
implementation that speaks HTTP is `fastprune.server.client`; tests have others. No I/O here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from fastprune.server.listing import BlobCounts, ServerListing


class Server(Protocol):
    """A running server: what it knows, and what it is asked to do."""

    async def listing(self, urls: Sequence[str] | None = None) -> ServerListing:
        """Asks which manifests the server knows.

        Args:
            urls: Only these image URLs, whole, without duplicates; None for all. Those that the
                server does not know are not in the listing.

        Raises:
            ServerError: There is no answer, or it is not as it should be.
        """

    async def prune(self, urls: Sequence[str]) -> None:
        """Asks the server to remove manifests, and the blobs that nothing else needs then.

        Nothing is returned, as no answer says what was done: the server's list and the files on
        disk do.

        Args:
            urls: Their image URLs, whole; at least one, and no more than fit a request: see
                `fastprune.server.expressions`.

        Raises:
            ServerError: There is no answer, or it is not as it should be. The server may have
                removed any of them all the same.
        """

    async def counted_blobs(self) -> BlobCounts:
        """Asks which blobs the manifests in the server's memory refer to, and how often.

        Some of these manifests are in no listing: a manifest that was pulled by tag can be asked
        for by its digest as well, and that goes on if another one takes over the tag.

        Raises:
            ServerError: There is no answer, or it is not as it should be.
        """

    async def head(self, url: str) -> None:
        """Asks for the head of a manifest, upon which the server writes its file again.

        Args:
            url: The image URL of a manifest that the server lists.

        Raises:
            ServerError: There is no answer, or it is not as it should be.
        """

    async def check(self) -> None:
        """Checks that it is a server of ociregistry.

        Raises:
            ServerError: There is no answer, or another program answers.
        """
