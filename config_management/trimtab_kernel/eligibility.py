"""Which phones and kiosks are eligible for an OnDeviceModel: one rule for the renderer and for the device.

``minOSVersion`` judges iOS devices, ``minAPILevel`` Android ones; a device of another system is judged by memory and
region alone. What a device does not say is not guessed: the answer is then None, for "not known".
"""

from __future__ import annotations

import re
from typing import TypeAlias

OsVersion: TypeAlias = tuple[str, tuple[int, ...]]
_OS_VERSION = re.compile(r"(?:([A-Za-z]{1,16}) ?)?([0-9]{1,5}(?:\.[0-9]{1,5}){0,3})", re.ASCII)
APPLE = frozenset({"ios", "ipados"})
ANDROID = frozenset({"android"})


class EligibilityError(ValueError):
    """The text is not a version of an operating system; the message says what was expected."""


def parse_os_version(text: str) -> OsVersion:
    """``iOS16``, ``iOS 16.4`` or ``16.4`` as the system in lower case (``""`` where none is named) and its numbers.

    Raises :class:`EligibilityError`.
    """
    match = _OS_VERSION.fullmatch(text)
    if match is None:
        raise EligibilityError('expected an OS version such as "iOS16" or "16.4"')
    return (match[1] or "").lower(), tuple(int(part) for part in match[2].split("."))


def at_least(version: OsVersion, minimum: OsVersion) -> bool:
    """Whether the numbers of ``version`` reach those of ``minimum``; missing numbers count as 0 (``16`` is ``16.0``)."""
    length = max(len(version[1]), len(minimum[1]))
    padded = [numbers + (0,) * (length - len(numbers)) for numbers in (version[1], minimum[1])]
    return padded[0] >= padded[1]


def judge_system(
    system: str,
    os_version: str | None,
    api_level: int | None,
    min_os_version: str | None,
    min_api_level: int | None,
) -> bool | None:
    """Whether a device with this system meets the minimum; None where the device does not say its version.

    Raises :class:`EligibilityError` for a version that is none.
    """
    name = system.lower()
    if name in APPLE and min_os_version is not None:
        if os_version is None:
            return None
        return at_least(parse_os_version(os_version), parse_os_version(min_os_version))
    if name in ANDROID and min_api_level is not None:
        return None if api_level is None else api_level >= min_api_level
    return True
