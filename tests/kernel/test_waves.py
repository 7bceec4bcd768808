"""Membership of a wave is stable, monotone and fair."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_kernel.waves import default_salt, is_member, position

percentages = st.fractions(0, 100, max_denominator=1000)


# Made with `printf 'SALT\0DEVICE' | b2sum -l 64`.
@pytest.mark.parametrize(
    ("salt", "device", "expected"),
    [
        ("triage", "device-1", 0x44E4F19E2D67EB47),
        ("production-edge/cameras/EdgeAIDeployment", "cam-042", 0x7A44FB4695311E5A),
        ("", "", 0x94F6D9CDD1EA8248),
        ("salt", "é", 0x63631FA6EA2B7977),
    ],
)
def test_the_position_is_blake2b_over_salt_zero_and_device(salt: str, device: str, expected: int) -> None:
    assert position(salt, device) == expected


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    percentages,
    percentages,
)
def test_a_wave_only_grows(salt: str, device: str, one: Fraction, other: Fraction) -> None:
    low, high = sorted([one, other])
    if is_member(salt, device, low):
        assert is_member(salt, device, high)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_nobody_is_in_a_wave_of_0_percent_and_everybody_in_one_of_100(device: str) -> None:
    assert not is_member("salt", device, Fraction(0))
    assert is_member("salt", device, Fraction(100))


@pytest.mark.parametrize("percent", [Fraction(1), Fraction(10), Fraction(1, 2), Fraction(100, 3), Fraction(50)])
def test_a_percentage_of_devices_is_chosen(percent: Fraction) -> None:
    """Within five standard deviations of the binomial distribution, over 40,000 devices."""
    devices = 40_000
    members = sum(
        is_member("namespace/name/EdgeAIDeployment", f"device-{number}", percent) for number in range(devices)
    )
    share = float(percent / 100)
    assert abs(members - devices * share) < 5 * (devices * share * (1 - share)) ** 0.5


def test_positions_are_spread_evenly() -> None:
    """Chi-squared over 64 cells and 64,000 devices; 120 is beyond the 99.99th percentile for 63 degrees of freedom."""
    cells = [0] * 64
    for number in range(64_000):
        cells[position("salt", f"camera-{number}") >> 58] += 1
    assert sum((cell - 1000) ** 2 / 1000 for cell in cells) < 120


def test_two_salts_choose_independently() -> None:
    tenth = Fraction(10)
    both = sum(
        is_member("one", f"device-{number}", tenth) and is_member("other", f"device-{number}", tenth)
        for number in range(40_000)
    )
    assert abs(both - 400) < 100


@pytest.mark.parametrize("percent", [Fraction(-1, 1000), Fraction(100001, 1000)])
def test_a_percentage_outside_0_to_100_is_refused(percent: Fraction) -> None:
    with pytest.raises(ValueError, match="from 0 to 100"):
        is_member("salt", "device", percent)


def test_the_salt_without_a_name_of_its_own_names_the_rollout() -> None:
    assert default_salt("production-edge", "cameras", "EdgeAIDeployment") == "production-edge/cameras/EdgeAIDeployment"
