"""Which addresses a webhook may go to: a client names them, and the service stands where the client does not.

Whatever can only be reached from inside is refused: private networks, this machine, the metadata of a cloud, and the
IPv6 spellings of all these. A name is judged by every address that it has at that moment, and what was judged is what
is connected to (`jobs.calls`), so that a name can't mean one address to the check and another to the connection.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias
from urllib.parse import SplitResult, urlsplit

from coppice.errors import ParameterInvalid

Address: TypeAlias = IPv4Address | IPv6Address
#: A host name and a port -> the addresses that it has now; raises OSError when it has none.
Resolver: TypeAlias = Callable[[str, int], Sequence[Address]]

_PORTS = {"http": 80, "https": 443}
#: Below it, only the web's own ports: the others belong to services that could take a call for something else.
_FIRST_FREE_PORT = 1024

#: Global by the rules of `ipaddress`, and yet no place for a call: IPv6 that carries an IPv4 address inside, which may
#: be a private one, and what is left over from such schemes.
_NOT_OUTSIDE: tuple[IPv4Network | IPv6Network, ...] = (
    IPv4Network("192.0.0.0/24"),  # of protocols (RFC 6890)
    IPv4Network("192.88.99.0/24"),  # relays of 6to4 (RFC 7526)
    IPv6Network("::/96"),  # compatible with IPv4 (RFC 4291)
    IPv6Network("::ffff:0:0/96"),  # mapped from IPv4 (RFC 4291)
    IPv6Network("::ffff:0:0:0/96"),  # translated from IPv4 (RFC 2765)
    IPv6Network("64:ff9b::/96"),  # NAT64 (RFC 6052)
    IPv6Network("64:ff9b:1::/48"),  # NAT64 of a network's own (RFC 8215)
    IPv6Network("2001::/23"),  # of protocols, Teredo among them (RFC 6890)
    IPv6Network("2002::/16"),  # 6to4 (RFC 3056)
    IPv6Network("5f00::/16"),  # segment routing (RFC 9602)
    IPv6Network("fec0::/10"),  # site-local (RFC 3879)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a webhook goes."""

    host: str
    port: int


def target(url: str) -> Target:
    """Host and port of a webhook's address; raises ParameterInvalid for one that can't be called."""
    try:
        parts = urlsplit(url)
        port = _PORTS.get(parts.scheme, 0) if parts.port is None else parts.port
    except ValueError:
        parts, port = SplitResult("", "", "", "", ""), 0
    host = parts.hostname or ""
    try:
        # As it goes into DNS and into the request.
        plain = host if ":" in host else host.encode("idna").decode()
    except UnicodeError:
        plain = ""
    ordinary = url.isascii() and url.isprintable() and " " not in url
    if parts.scheme not in _PORTS or not plain or not ordinary or parts.username or parts.password is not None:
        raise ParameterInvalid(
            "webhook is not of the form https://example.org/path: http or https, a host, no name or password in it,"
            " and no character that has to be written as %XX.",
            field="webhook",
        )
    if port not in _PORTS.values() and port < _FIRST_FREE_PORT:
        raise ParameterInvalid(
            f"webhook: port {port} can't be called. Use 80, 443, or one from 1024 on.", field="webhook"
        )
    return Target(host=plain, port=port)


def outside(address: Address) -> bool:
    """Whether an address is one of the public network, which anybody can reach."""
    if not address.is_global or address.is_multicast or address.is_reserved or address.is_unspecified:
        return False
    return not any(address.version == network.version and address in network for network in _NOT_OUTSIDE)


def resolve(host: str, port: int) -> Sequence[Address]:
    """The addresses of a host now, as the system finds them; raises OSError when it finds none."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as e:
        raise OSError(f"no host can have that name: {e}") from e
    # A scope (`%eth0`) belongs to link-local addresses; `ip_address` keeps it, and none of them is outside.
    return [ip_address(entry[4][0]) for entry in found]


def checked(where: Target, *, private: bool, resolver: Resolver = resolve) -> Sequence[Address]:
    """The addresses of a target, all of them allowed; raises ParameterInvalid where one is not, OSError for none."""
    found = resolver(where.host, where.port)
    if not found:
        raise OSError("the host has no address")
    if any(address.is_multicast or address.is_unspecified for address in found) or not (
        private or all(outside(address) for address in found)
    ):
        # Not which: a client is not to learn the names of a network that he is not in.
        raise ParameterInvalid(
            "webhook: that address is not of the public network, and this service calls no other.", field="webhook"
        )
    return found


def refuse_inside(url: str, *, private: bool, resolver: Resolver = resolve) -> None:
    """Raise ParameterInvalid for a webhook that would not be called. A name that nobody knows yet is let pass."""
    where = target(url)
    try:
        checked(where, private=private, resolver=resolver)
    except OSError:
        return
