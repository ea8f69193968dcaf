"""Whether every image that a server lists can be pulled whole, and whether its files are whole."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from tests.support.cachebuilder import files
from tests.support.stand_in import Client, Pulled
from tests.support.stand_in.holders import Holder, read_holder
from tests.support.stand_in.references import folder_of_url


class Listed(NamedTuple):
    """A manifest that a server lists.

    Attributes:
        url: Its URL, whole.
        digest: 64 hex digits.
    """

    url: str
    digest: str


def listed_by(client: Client) -> list[Listed]:
    """Everything that a server lists."""
    status, text = client.get("/cmd/manifest/list?count=-1")
    assert status == 200
    found = []
    for line in text.splitlines()[1:]:
        url, digest = line.split()[:2]
        name, at, _ = url.partition("@sha256:")
        found.append(Listed(f"{name}{at}{digest}" if at else url, digest))
    return found


def without_files(client: Client, root: Path) -> list[Listed]:
    """What a server lists from memory, and a restart would lose: its file is gone."""
    there = files(root)
    return [
        one for one in listed_by(client) if f"{folder_of_url(one.url)}/{one.digest}" not in there
    ]


def broken_images(server_url: str, *, most: int = 1000) -> list[Pulled]:
    """What a server lists and can't be pulled whole.

    Of a list, the children that the server lists as well are pulled on their own. The upstream
    is not asked: all of it is in the server's memory.

    Args:
        server_url: The server.
        most: Of more manifests than this, so many are pulled, evenly chosen.
    """
    with Client(server_url) as client:
        listed = listed_by(client)
        some = listed[:: max(1, len(listed) // most)]
        pulled = [client.pull(one.url, children=lambda digest: False) for one in some]
    return [one for one in pulled if not one.is_whole]


def holders(root: Path) -> dict[str, Holder]:
    """The manifests on disk by path."""
    return {
        name: read_holder((root / name).read_bytes())
        for name in sorted(files(root))
        if not name.startswith("blobs/")
    }


def damaged_files(root: Path) -> list[str]:
    """What is wrong with the files of a cache, in words.

    Every blob that a manifest needs is there, and every blob and manifest has the digest of its
    name.
    """
    found = []
    there = files(root)
    for path, holder in holders(root).items():
        name = path.partition("/")[2]
        if hashlib.sha256(holder.document).hexdigest() != name:
            found.append(f"{path} holds another manifest")
        found += [
            f"{path} ({holder.url}) needs blobs/{blob.digest}, which is missing"
            for blob in holder.blobs
            if f"blobs/{blob.digest}" not in there
        ]
    for path in there:
        folder, _, name = path.partition("/")
        if folder == "blobs" and hashlib.sha256((root / path).read_bytes()).hexdigest() != name:
            found.append(f"{path} is cut off or altered")
    return found


def orphans(root: Path) -> set[str]:
    """The blobs that no manifest needs."""
    needed = {f"blobs/{blob.digest}" for one in holders(root).values() for blob in one.blobs}
    return {path for path in files(root) if path.startswith("blobs/")} - needed
