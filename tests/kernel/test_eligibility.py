"""Which systems are eligible for an OnDeviceModel."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_kernel.eligibility import EligibilityError, at_least, judge_system, parse_os_version


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("iOS16", ("ios", (16,))),
        ("iOS 16.4", ("ios", (16, 4))),
        ("16.4.1", ("", (16, 4, 1))),
        ("iPadOS17.0", ("ipados", (17, 0))),
    ],
)
def test_versions_of_systems_are_read(text: str, expected: tuple[str, tuple[int, ...]]) -> None:
    assert parse_os_version(text) == expected


@pytest.mark.parametrize(
    "text", ["", "iOS", "16.", ".4", "iOS-16", "iOS  16", "16.4b", "1.2.3.4.5", "iOS16\n", "\uff11"]
)
def test_what_is_no_version_of_a_system_is_refused(text: str) -> None:
    with pytest.raises(EligibilityError, match="expected an OS version"):
        parse_os_version(text)


numbers = st.lists(st.integers(0, 30), min_size=1, max_size=4).map(tuple)


@given(numbers, numbers)
def test_missing_numbers_count_as_zero(one: tuple[int, ...], other: tuple[int, ...]) -> None:
    padded = [(*numbers, 0, 0, 0)[:4] for numbers in (one, other)]
    assert at_least(("", one), ("", other)) == (padded[0] >= padded[1])


@pytest.mark.parametrize(
    ("system", "os_version", "api_level", "eligible"),
    [
        ("ios", "16.0", None, True),
        ("iOS", "17", None, True),
        ("ios", "15.9", None, False),
        ("ipados", "16", None, True),
        ("ios", None, None, None),
        ("android", None, 30, True),
        ("android", "1", 29, False),
        ("Android", "16", None, None),
        ("linux", None, None, True),
    ],
)
def test_the_version_judges_ios_and_the_api_level_android(
    system: str, os_version: str | None, api_level: int | None, eligible: bool | None
) -> None:
    assert judge_system(system, os_version, api_level, "iOS16", 30) is eligible


def test_without_a_minimum_every_system_is_eligible() -> None:
    assert judge_system("ios", None, None, None, 30) is True
    assert judge_system("android", None, None, "iOS16", None) is True
