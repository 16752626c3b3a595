"""Which addresses a webhook may go to: none that can only be reached from inside, in any spelling."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import ip_address

import pytest

from coppice.errors import ParameterInvalid
from coppice.jobs.addresses import Address, outside, refuse_inside, resolve, target

INSIDE = (
    *("127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
    *("169.254.169.254", "100.64.0.1", "192.0.0.8", "192.0.2.1", "192.88.99.1", "198.18.0.1", "203.0.113.9"),
    *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:7f00:1", "64:ff9b::7f00:1"),
    *("64:ff9b::808:808", "64:ff9b:1::7f00:1", "2001::1", "2001:db8::1", "2002:7f00:1::", "2002:808:808::1"),
    *("fc00::1", "fd12::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "100::1", "5f00::1"),
)


@pytest.mark.parametrize("address", INSIDE)
def test_addresses_that_are_reached_from_inside_only_are_refused(address: str) -> None:
    assert not outside(ip_address(address))
    with pytest.raises(ParameterInvalid) as refused:
        refuse_inside("https://name.example/", private=False, resolver=lambda _host, _port: [ip_address(address)])
    assert address not in refused.value.message  # what is inside is not told
    if "%" not in address:
        url = f"http://[{address}]/" if ":" in address else f"http://{address}/"
        with pytest.raises(ParameterInvalid):
            refuse_inside(url, private=False)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "172.15.0.1", "2606:4700::1111", "2a00:1450::1"])
def test_addresses_of_the_public_network_are_not(address: str) -> None:
    assert outside(ip_address(address))


@pytest.mark.parametrize("host", ["localhost", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "LOCALHOST"])
def test_no_spelling_of_this_machine_passes(host: str) -> None:
    with pytest.raises(ParameterInvalid):
        refuse_inside(f"http://{host}:8080/", private=False)


def test_one_private_address_among_public_ones_is_enough() -> None:
    def both(_host: str, _port: int) -> Sequence[Address]:
        return [ip_address("8.8.8.8"), ip_address("10.0.0.1")]

    with pytest.raises(ParameterInvalid):
        refuse_inside("https://name.example/", private=False, resolver=both)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "ftp://example.org/",
            "file:///etc/passwd",
            "http:///x",
            "http://user:pw@example.org/",
            "http://u@example.org/",
        ),
        *("http://example.org:22/", "http://example.org:0/", "http://example.org:99999/", "http://example.org:x/"),
        *("http://a\r\nb/", "http://exa mple.org/", "http://bücher.example/", "gopher://example.org/", "https://", ""),
        "http://" + "a" * 64 + ".example/",
    ],
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ParameterInvalid):
        target(url)


def test_names_are_resolved_as_the_system_does() -> None:
    assert ip_address("127.0.0.1") in resolve("localhost", 80)
    with pytest.raises(socket.gaierror):
        resolve("no-such-name.invalid", 80)
