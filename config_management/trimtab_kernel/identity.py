"""Identities: digests, names and versions."""

from __future__ import annotations

import hashlib
import re

from trimtab_kernel.records import dataclass

_HEX = frozenset("0123456789abcdef")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
SEMVER_PATTERN = (
    r"(0|[1-9][0-9]{0,9})\.(0|[1-9][0-9]{0,9})\.(0|[1-9][0-9]{0,9})"
    r"(?:-((?:0|[1-9][0-9]{0,17}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)(?:\.(?:0|[1-9][0-9]{0,17}|[0-9]*[A-Za-z-][0-9A-Za-z-]*))*))?"
    r"(?:\+([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?"
)
_SEMVER = re.compile(SEMVER_PATTERN, re.ASCII)
SHA256_HEX_LENGTH = 64
MAX_NAME = 253
MAX_LABEL = 63
MAX_VERSION = 128


class IdentityError(ValueError):
    """The text is not such an identity; the message says what was expected."""


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A SHA-256 digest, written ``sha256:<64 hex digits in lower case>``."""

    hex: str

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Raises :class:`IdentityError`, which names the length and the first bad character (1-based, after ``sha256:``)."""
        prefix, colon, value = text.partition(":")
        if prefix != "sha256" or not colon:
            raise IdentityError('expected "sha256:" and 64 hex digits')
        faults = []
        if len(value) != SHA256_HEX_LENGTH:
            faults.append(f"length {len(value)}, expected {SHA256_HEX_LENGTH}")
        for position, character in enumerate(value, start=1):
            if character not in _HEX:
                faults.append(f'first bad character "{character}" at {position}')
                break
        if faults:
            raise IdentityError("; ".join(faults))
        return cls(value)

    @classmethod
    def of(cls, content: bytes) -> Digest:
        """The digest of ``content``."""
        return cls(hashlib.sha256(content).hexdigest())

    @property
    def path(self) -> str:
        """Where a content-addressed store keeps it: ``sha256/<hex>``."""
        return f"sha256/{self.hex}"

    def __str__(self) -> str:
        """``sha256:<hex>``."""
        return f"sha256:{self.hex}"


def parse_name(text: str, limit: int = MAX_NAME) -> str:
    """An RFC 1123 subdomain, as Kubernetes wants object names. Raises :class:`IdentityError`."""
    if not text or len(text) > limit:
        raise IdentityError(f"expected a name of 1 to {limit} characters")
    for part in text.split("."):
        if len(part) > MAX_LABEL:
            raise IdentityError(f"expected at most {MAX_LABEL} characters between two dots (RFC 1123)")
        if not _LABEL.fullmatch(part):
            raise IdentityError('expected lower case letters, digits, "-" and "." (RFC 1123), such as "camera-emea-1"')
    return text


def parse_label_name(text: str) -> str:
    """An RFC 1123 label (a namespace, a group): at most 63 characters, no dots. Raises :class:`IdentityError`."""
    if len(text) > MAX_LABEL or not _LABEL.fullmatch(text):
        raise IdentityError(
            'expected at most 63 lower case letters, digits and "-" (RFC 1123), such as "camera-emea-1"'
        )
    return text


@dataclass(frozen=True, slots=True)
class Version:
    """A version after SemVer 2.0.0 (semver.org), ordered by its precedence rules (§11).

    Build metadata counts in equality and not in order: of two versions that differ in it alone, each is ``<=`` the other.
    """

    major: int
    minor: int
    patch: int
    pre: tuple[str, ...] = ()
    build: str = ""

    @classmethod
    def parse(cls, text: str) -> Version:
        """Raises :class:`IdentityError`."""
        match = _SEMVER.fullmatch(text) if len(text) <= MAX_VERSION else None
        if match is None:
            raise IdentityError('expected a semantic version such as "2.1.0"')
        pre = tuple(match[4].split(".")) if match[4] else ()
        return cls(int(match[1]), int(match[2]), int(match[3]), pre, match[5] or "")

    def _key(self) -> tuple[object, ...]:
        # A release comes after its pre-releases; numeric identifiers before words (SemVer 2.0.0 §11.3-4).
        pre = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in self.pre)
        return (self.major, self.minor, self.patch, not self.pre, pre)

    def __lt__(self, other: Version) -> bool:
        """Lower precedence."""
        return self._key() < other._key()

    def __le__(self, other: Version) -> bool:
        """Lower or equal precedence."""
        return self._key() <= other._key()

    def __gt__(self, other: Version) -> bool:
        """Higher precedence."""
        return self._key() > other._key()

    def __ge__(self, other: Version) -> bool:
        """Higher or equal precedence."""
        return self._key() >= other._key()

    def __str__(self) -> str:
        """The version as it was written."""
        text = f"{self.major}.{self.minor}.{self.patch}"
        if self.pre:
            text += "-" + ".".join(self.pre)
        return f"{text}+{self.build}" if self.build else text
