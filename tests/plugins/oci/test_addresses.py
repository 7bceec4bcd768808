"""Addresses of artifacts: what is taken, what is refused, and which hosts may be talked to in the clear."""

from __future__ import annotations

import pytest

from trimtab_kernel.problems import InputError
from trimtab_plugins.oci.address import Address, parse_address

DIGEST = "sha256:" + "0a" * 32


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("oci://example.org/fleet/kiosks:latest", Address("example.org", "fleet/kiosks", "latest")),
        ("oci://127.0.0.1:5000/a", Address("127.0.0.1:5000", "a")),
        ("oci://[::1]:5000/a_b/c--d:v1.0_2", Address("[::1]:5000", "a_b/c--d", "v1.0_2")),
        (f"oci://r.example/a@{DIGEST}", Address("r.example", "a", "", DIGEST)),
        (f"oci://r.example/a:t@{DIGEST}", Address("r.example", "a", "t", DIGEST)),
    ],
)
def test_an_address_is_read_and_written(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        "example.org/fleet:latest",
        "https://example.org/fleet",
        "oci://",
        "oci://example.org",
        "oci://example.org/",
        "oci://example.org/Fleet",
        "oci://example.org/fleet//a",
        "oci://example.org/../a",
        "oci://example.org/a:",
        "oci://example.org/a:-x",
        "oci://example.org/a:" + "t" * 129,
        "oci://example.org/" + "a/" * 200 + "a",
        "oci://example.org/a@sha256:12",
        "oci://example.org/a@sha512:" + "0" * 128,
        "oci://exa mple.org/a",
        "oci://example.org/a?b=c",
        "oci://example.org/a\n",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="A306"):
        parse_address(text)


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(InputError, match="A306") as caught:
        parse_address("oci://ada:s3cret@example.org/a")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:5000", "127.0.0.1:80", "127.9.9.9", "[::1]:5000", "[::1]"])
def test_a_loopback_host_is_one_by_its_name(host: str) -> None:
    assert Address(host, "a").is_loopback


@pytest.mark.parametrize(
    "host", ["localhost.example.org", "127.0.0.1.example.org:80", "10.0.0.1", "[fe80::1]", "example.org"]
)
def test_no_other_host_is(host: str) -> None:
    assert not Address(host, "a").is_loopback
