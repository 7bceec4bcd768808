"""Digests, names and versions."""

from __future__ import annotations

import hashlib
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_kernel.identity import Digest, IdentityError, Version, parse_label_name, parse_name


@given(st.binary(max_size=100))
def test_a_digest_reads_back_as_the_same(content: bytes) -> None:
    digest = Digest.of(content)
    assert Digest.parse(str(digest)) == digest
    assert digest.hex == hashlib.sha256(content).hexdigest()
    assert digest.path == f"sha256/{digest.hex}"


def test_a_bad_digest_names_its_length_and_its_first_bad_character() -> None:
    with pytest.raises(IdentityError) as caught:
        Digest.parse("sha256:a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6q7r8s9t0u1v2w3x4y5z6")
    assert str(caught.value) == 'length 52, expected 64; first bad character "g" at 13'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", 'expected "sha256:" and 64 hex digits'),
        ("a" * 64, 'expected "sha256:" and 64 hex digits'),
        ("md5:" + "a" * 32, 'expected "sha256:" and 64 hex digits'),
        ("SHA256:" + "a" * 64, 'expected "sha256:" and 64 hex digits'),
        ("sha256:", "length 0, expected 64"),
        ("sha256:" + "a" * 63, "length 63, expected 64"),
        ("sha256:" + "a" * 65, "length 65, expected 64"),
        ("sha256:" + "A" + "a" * 63, 'first bad character "A" at 1'),
        ("sha256:" + "a" * 63 + "g", 'first bad character "g" at 64'),
        ("sha256:" + "a" * 63 + "\uff11", 'first bad character "\uff11" at 64'),
        ("sha256:" + "a" * 64 + "\n", 'length 65, expected 64; first bad character "\n" at 65'),
    ],
)
def test_what_is_no_digest_is_refused(text: str, says: str) -> None:
    with pytest.raises(IdentityError, match=re.escape(says)):
        Digest.parse(text)


@pytest.mark.parametrize(
    "name", ["a", "0", "camera-emea-1", "vision-analytics-v2.pt", "a.b.c", "a" * 63, "a" * 63 + ".b"]
)
def test_names_of_objects_are_accepted(name: str) -> None:
    assert parse_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "A",
        "a_b",
        "-a",
        "a-",
        "a..b",
        ".a",
        "a.",
        "a b",
        "a/b",
        "..",
        "a\n",
        "é",
        "\u0430",
        "a" * 64,
        ("a" * 60 + ".") * 5,
        "a\x00",
    ],
)
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(IdentityError, match="expected"):
        parse_name(name)


@pytest.mark.parametrize("name", ["", "a.b", "A", "-a", "a" * 64, "a\n"])
def test_a_label_name_has_no_dots_and_at_most_63_characters(name: str) -> None:
    with pytest.raises(IdentityError, match="expected"):
        parse_label_name(name)


# The example of semver.org, section 11, and the cases its rules imply: each is lower than all after it.
ASCENDING = [
    "0.0.0",
    "0.9.9",
    "1.0.0-0",
    "1.0.0-2",
    "1.0.0-10",
    "1.0.0--",
    "1.0.0-1a",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "1.0.1",
    "1.1.0",
    "1.2.0",
    "1.10.0",
    "2.0.0",
    "2.1.0",
    "2.1.1",
    "10.0.0",
]


def test_versions_stand_in_the_order_of_semver() -> None:
    for lower, higher in itertools.combinations(map(Version.parse, ASCENDING), 2):
        assert lower < higher
        assert lower <= higher
        assert higher > lower
        assert higher >= lower
        assert not lower > higher
        assert not lower >= higher


def test_build_metadata_has_no_part_in_the_order() -> None:
    one, other = Version.parse("1.0.0+a"), Version.parse("1.0.0+b")
    assert one != other
    assert one <= other
    assert one >= other
    assert not one < other
    assert not one > other
    assert one < Version.parse("1.0.1+a")


# The valid and invalid examples that semver.org's own test of its regular expression names (regex101.com/r/vkijKf).
@pytest.mark.parametrize(
    "text",
    [
        "0.0.4", "1.2.3", "10.20.30", "1.1.2-prerelease+meta", "1.1.2+meta", "1.1.2+meta-valid", "1.0.0-alpha", "1.0.0-alpha.1",
        "1.0.0-alpha0.valid", "1.0.0-alpha-a.b-c-somethinglong+build.1-aef.1-its-okay", "1.0.0-rc.1+build.123", "1.2.3-beta",
        "10.2.3-DEV-SNAPSHOT", "1.0.0+0.build.1-rc.10000aaa-kk-0.1", "1.2.3----RC-SNAPSHOT.12.9.1--.12+788", "1.0.0-0A.is.legal",
        "1.2.3----R-S.12.9.1--.12+meta",
    ],
)  # fmt: skip
def test_a_semantic_version_reads_back_as_it_was_written(text: str) -> None:
    assert str(Version.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "", "1", "1.2", "1.2.3-0123", "1.2.3-0123.0123", "1.1.2+.123", "+invalid", "-invalid", "alpha", "1.0.0-alpha_beta",
        "1.0.0-alpha..", "1.0.0-alpha..1", "01.1.1", "1.01.1", "1.1.01", "1.2.3.DEV", "1.2-SNAPSHOT", "1.2.31.2.3----RC-SNAPSHOT.12.09.1",
        "-1.0.3-gamma+b7718", "9.8.7+meta+meta", "9.8.7-whatever+meta+meta", "v1.2.3", " 1.2.3", "1.2.3\n", "1.2.3-", "1.2.3+",
        "\uff11.0.0", "1.0.0-" + "a" * 123, "99999999999.0.0",
    ],
)  # fmt: skip
def test_what_is_no_semantic_version_is_refused(text: str) -> None:
    with pytest.raises(IdentityError, match="expected a semantic version"):
        Version.parse(text)


@given(
    st.from_regex(
        r"\A(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})(-[0-9a-z]{1,4}(\.[0-9a-z]{1,4}){0,3})?\Z"
    )
)
def test_every_version_that_is_read_reads_back(text: str) -> None:
    try:
        version = Version.parse(text)
    except IdentityError:
        assert re.search(r"(^|[-.])0[0-9]+($|[.+])", text)  # a number with a leading zero
    else:
        assert Version.parse(str(version)) == version


versions = st.builds(
    Version,
    st.integers(0, 3),
    st.integers(0, 3),
    st.integers(0, 3),
    st.lists(st.sampled_from(["0", "1", "10", "a", "A", "a1", "-"]), max_size=3).map(tuple),
)


@given(versions, versions, versions)
def test_the_order_of_versions_is_total_and_transitive(a: Version, b: Version, c: Version) -> None:
    assert (a < b) + (b < a) + (a == b) == 1
    if a <= b <= c:
        assert a <= c
