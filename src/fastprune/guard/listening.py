"""Where the processes of this machine listen: addresses and ports of TCP sockets.

Stage: rim. Input: the id of a process, the name of a host. Output: `Listener`s, addresses. I/O:
reads /proc, resolves names, and binds sockets for a moment to see which addresses are ours.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from fastprune.guard.process_table import PROC

Address = IPv4Address | IPv6Address

# A state of a TCP socket: see include/net/tcp_states.h in the kernel.
_LISTEN = "0A"
_STATE, _INODE = 3, 9
_HEX_WORD = 8


@dataclass(frozen=True, slots=True)
class Listener:
    """A TCP socket that takes connections."""

    address: Address
    port: int

    def takes(self, addresses: frozenset[Address]) -> bool:
        """Whether it takes connections to one of some addresses of this machine."""
        return self.address.is_unspecified or self.address in addresses


def listeners(pid: int, proc: str = PROC) -> tuple[Listener, ...] | None:
    """Where a process listens; None if that can't be known.

    It can't be known if the process belongs to another user and may not be looked at, or has a
    network of its own, as in a container, or if there is no /proc.
    """
    try:
        if os.readlink(f"{proc}/{pid}/ns/net") != os.readlink(f"{proc}/self/ns/net"):
            return None
        inodes = set(_sockets(f"{proc}/{pid}/fd"))
        ours = dict(_listening(proc))
    except (OSError, ValueError, IndexError):
        return None
    return tuple(listener for inode, listener in ours.items() if inode in inodes)


def _sockets(folder: str) -> Iterator[str]:
    """The inodes of the sockets that a process has open."""
    for name in os.listdir(folder):
        try:
            kind, _, inode = os.readlink(f"{folder}/{name}").partition(":[")
        except FileNotFoundError:
            continue
        if kind == "socket":
            yield inode.removesuffix("]")


def _listening(proc: str) -> Iterator[tuple[str, Listener]]:
    """The inode of each listening socket of our network, and where it listens."""
    for table in ("tcp", "tcp6"):
        try:
            with open(f"{proc}/self/net/{table}", encoding="ascii") as file:
                lines = file.read().splitlines()[1:]
        except FileNotFoundError:
            # There is no tcp6 where IPv6 is switched off.
            continue
        for fields in map(str.split, lines):
            if fields[_STATE] == _LISTEN:
                address, _, port = fields[1].partition(":")
                yield fields[_INODE], Listener(_address(address), int(port, 16))


def _address(text: str) -> Address:
    """An address as the kernel writes it: words of 32 bits, each in the machine's byte order."""
    words = (text[at : at + _HEX_WORD] for at in range(0, len(text), _HEX_WORD))
    return _plain(
        ip_address(b"".join(int(word, 16).to_bytes(4, byteorder=sys.byteorder) for word in words))
    )


def _plain(address: Address) -> Address:
    """An IPv4 address that is written as one of IPv6 becomes one of IPv4."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def addresses_here(host: str) -> frozenset[Address]:
    """The addresses of a host that are addresses of this machine; none for another machine."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return frozenset()
    return frozenset(
        _plain(ip_address(str(place[0]).partition("%")[0]))
        for family, kind, _, _, place in found
        if family in (socket.AF_INET, socket.AF_INET6) and _is_here(family, kind, place)
    )


def _is_here(family: int, kind: int, place: tuple[object, ...]) -> bool:
    """Whether an address is one of this machine: only then can a socket be bound to it."""
    try:
        with socket.socket(family, kind) as tried:
            tried.bind((place[0], 0, *place[2:]))
    except OSError:
        return False
    return True
