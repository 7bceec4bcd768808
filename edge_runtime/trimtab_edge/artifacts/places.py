"""Where to look for an artifact, in order. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import unquote, urlsplit

from trimtab_kernel.problems import printable

if TYPE_CHECKING:
    from trimtab_kernel.identity import Digest


@dataclass(frozen=True, slots=True)
class FilePlace:
    """A file on this device or on a mount."""

    path: Path

    def __str__(self) -> str:
        """The path."""
        return printable(str(self.path), 300)


@dataclass(frozen=True, slots=True)
class HttpPlace:
    """A resource of an HTTP server or CDN."""

    url: str

    def __str__(self) -> str:
        """Without user, password and query: these are secrets where they are used."""
        parts = urlsplit(self.url)
        port = f":{parts.port}" if parts.port else ""
        return printable(f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}", 300)


@dataclass(frozen=True, slots=True)
class NoPlace:
    """A URI whose scheme this agent does not fetch."""

    scheme: str

    def __str__(self) -> str:
        """What to do about it."""
        return f'uri of scheme "{printable(self.scheme, 20)}": not fetched by this agent; mirror it by digest in --artifacts'


Place: TypeAlias = FilePlace | HttpPlace | NoPlace


def place_of(location: str) -> Place:
    """A directory, a ``file:`` URI or an ``http(s):`` URL."""
    try:
        parts = urlsplit(location)
        if parts.scheme in ("http", "https"):
            # Port out of range and the like raise only when they are asked for.
            return (
                HttpPlace(location) if parts.hostname and (parts.port is None or parts.port) else NoPlace(parts.scheme)
            )
    except ValueError:
        return NoPlace(location.partition(":")[0])
    if parts.scheme == "file":
        return FilePlace(Path(unquote(parts.path)))
    if "://" in location:
        return NoPlace(parts.scheme)
    return FilePlace(Path(location))


def places(store: str | None, digest: Digest, uri: str) -> tuple[Place, ...]:
    """``sha256/<hex>`` in the store, where there is one, then ``uri``, where there is one."""
    found: list[Place] = []
    if store:
        base = place_of(store)
        match base:
            case FilePlace(path):
                found.append(FilePlace(path / digest.path))
            case HttpPlace(url):
                found.append(HttpPlace(f"{url.rstrip('/')}/{digest.path}"))
            case NoPlace():
                found.append(base)
    if uri:
        found.append(place_of(uri))
    return tuple(found)
