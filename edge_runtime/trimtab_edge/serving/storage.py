"""What a model repository holds, as the server sees it: which version of each model is to answer, and from which files."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from trimtab_edge import layout
from trimtab_edge.reading import read_limited
from trimtab_edge.settings import MAX_BYTES, ModelDescription, read_description
from trimtab_kernel.identity import Digest, IdentityError, Version, parse_name
from trimtab_kernel.problems import InputError, Problem, quoted

if TYPE_CHECKING:
    from pathlib import Path

Stamp: TypeAlias = "tuple[int, int, int] | None"
"""Inode, modification time in nanoseconds and size: enough to see that a file was replaced."""
MAX_MODEL_BYTES = 4 * 1024**3
_LISTED = 1000


@dataclass(frozen=True, slots=True)
class Sighting:
    """What was seen of one model. Equal sightings mean that nothing changed.

    ``problem`` says why there is no telling which version is to answer; then the other fields mean nothing.
    """

    version: str
    digest: Digest | None
    directory: str
    stamps: tuple[Stamp, ...]
    problem: Problem | None = None

    @property
    def is_ordered(self) -> bool:
        """Whether ``active.json`` says what is to answer, so that nobody else does."""
        return self.stamps[0] is not None


@dataclass(frozen=True, slots=True)
class Files:
    """The verified content of one version."""

    content: bytes
    digest: Digest
    description: ModelDescription


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def models(directory: Path) -> list[str]:
    """The names of all models there. Raises OSError where the directory cannot be read."""
    found = []
    with os.scandir(directory) as entries:
        for entry in entries:
            try:
                parse_name(entry.name)
            except IdentityError:
                continue
            if entry.is_dir():
                found.append(entry.name)
    return sorted(found)


def passed_over(directory: Path) -> list[str]:
    """Directories that hold an ONNX file where none is looked for, each with the reason. Raises OSError."""
    found = []
    with os.scandir(directory) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    for name in names:
        try:
            parse_name(name)
        except IdentityError as error:
            if any(_is_file(directory / name / below / layout.MODEL_FILE) for below in ("", *_below(directory / name))):
                found.append(f"{quoted(name)} is no name of a model: {error}")
            continue
        if _is_file(directory / name / layout.MODEL_FILE):
            found.append(f"{name}/{layout.MODEL_FILE} belongs into a directory of its version, such as {name}/1.0.0")
        found += [
            f"{quoted(f'{name}/{below}')} is no version: expected one such as 1.0.0"
            for below in _below(directory / name)
            if not _is_version(below) and _is_file(directory / name / below / layout.MODEL_FILE)
        ]
    return found


def _below(directory: Path) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            listed = itertools.islice(entries, _LISTED)
            return sorted(entry.name for entry in listed if not entry.name.startswith("."))
    except OSError:
        return []


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long, or not to be entered
        return False


def look(directory: Path, model: str) -> Sighting | None:
    """Which version of ``model`` is to answer; None where there is nothing to serve (no version, or no ONNX file).

    ``active.json`` decides; where it is absent, the newest version in SemVer order that has an ONNX file.
    """
    home = directory / model
    active_file = home / layout.ACTIVE_FILE
    active_stamp = _stamp(active_file)
    place = f"{model}/{layout.ACTIVE_FILE}"
    try:
        active = layout.parse_active(read_limited(active_file, layout.MAX_ACTIVE_BYTES), place)
    except FileNotFoundError:
        return _newest(directory, model)
    except InputError as error:
        return Sighting("", None, "", (active_stamp,), error.problems[0])
    except OSError as error:
        # There, but not to be read: then the newest could be the one that was rolled back.
        got = quoted(error.strerror or str(error))
        return Sighting("", None, "", (active_stamp,), Problem("E405", place, 0, "", got, "a file that can be read"))
    folder = active.version
    if active.digest is not None:
        by_digest = f"{layout.BY_DIGEST}/{active.digest.hex}"
        if (home / by_digest).is_dir():
            folder = by_digest
    if (home / folder / layout.OPAQUE_FILE).exists() and not (home / folder / layout.MODEL_FILE).exists():
        return None
    return _sighting(directory, model, active.version, active.digest, folder, active_stamp)


def places(directory: Path, model: str, sighting: Sighting | None) -> list[Path]:
    """The directories in which a change may change what :func:`look` sees of ``model``."""
    home = directory / model
    found = [home]
    try:
        with os.scandir(home) as entries:
            found += [home / entry.name for entry in entries if _is_version(entry.name) and entry.is_dir()]
    except OSError:
        return found
    if sighting is not None and sighting.directory:
        found.append(directory / sighting.directory)
    return found


def _is_version(name: str) -> bool:
    try:
        Version.parse(name)
    except IdentityError:
        return False
    return True


def versions(directory: Path, model: str) -> list[Version]:
    """The versions of ``model`` that have an ONNX file, oldest first. Raises OSError."""
    found: list[Version] = []
    with os.scandir(directory / model) as entries:
        for entry in entries:
            try:
                version = Version.parse(entry.name)
            except IdentityError:
                continue
            if (directory / model / entry.name / layout.MODEL_FILE).is_file():
                found.append(version)
    return sorted(found)


def _newest(directory: Path, model: str) -> Sighting | None:
    try:
        found = versions(directory, model)
    except FileNotFoundError:  # gone between two looks
        return None
    except OSError as error:
        # One model's trouble is not the others'.
        got = quoted(error.strerror or str(error))
        return Sighting("", None, "", (), Problem("E102", model, 0, "", got, "a directory that can be read"))
    if not found:
        return None
    newest = str(found[-1])
    return _sighting(directory, model, newest, None, newest, None)


def _sighting(
    directory: Path, model: str, version: str, digest: Digest | None, folder: str, active_stamp: Stamp
) -> Sighting:
    place = directory / model / folder
    stamps = (active_stamp, _stamp(place / layout.MODEL_FILE), _stamp(place / layout.DESCRIPTION_FILE))
    return Sighting(version, digest, f"{model}/{folder}", stamps)


def weights_size(directory: Path, sighting: Sighting) -> int:
    """Bytes of the model's file, and of others beside it that may hold its weights; 0 where they cannot be read."""
    place = directory / sighting.directory
    try:
        with os.scandir(place) as entries:
            sizes = {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
    except OSError:
        return 0
    if sighting.digest is not None:
        return sizes.get(layout.MODEL_FILE, 0)
    return sum(sizes.values())


def read_description_beside(directory: Path, sighting: Sighting) -> ModelDescription:
    """The model's ``model.yaml``, or an empty one where there is none. Raises :class:`InputError` and OSError."""
    path = directory / sighting.directory / layout.DESCRIPTION_FILE
    try:
        return read_description(read_limited(path, MAX_BYTES), f"{sighting.directory}/{layout.DESCRIPTION_FILE}")
    except FileNotFoundError:
        return ModelDescription()


def read_files(directory: Path, sighting: Sighting) -> Files:
    """Read and verify what was seen. What is hashed is what is loaded: the file is read once.

    Raises :class:`InputError` (E401, E402, E404, E406) and OSError.
    """
    place = f"{sighting.directory}/{layout.MODEL_FILE}"
    try:
        content = read_limited(directory / sighting.directory / layout.MODEL_FILE, MAX_MODEL_BYTES)
    except FileNotFoundError:
        raise InputError(Problem("E406", place, 0, "", "no file", f"version {sighting.version}")) from None
    if len(content) > MAX_MODEL_BYTES:
        raise InputError(Problem("E402", place, 0, "", "a larger file", f"at most {MAX_MODEL_BYTES} bytes"))
    digest = Digest.of(content)
    description = read_description_beside(directory, sighting)
    expected = sighting.digest or description.digest
    if expected is not None and digest != expected:
        raise InputError(Problem("E404", place, 0, "", str(digest), str(expected)))
    return Files(content, digest, description)
