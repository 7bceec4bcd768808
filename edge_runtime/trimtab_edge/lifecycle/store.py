"""The model repository as the agent writes it. Layout and its reasons: :mod:`trimtab_edge.layout`.

Each method can be repeated after a crash at any point within it. Nothing that ``active.json`` names is ever changed:
a release is put together under a temporary name, renamed to its digest, and only then named.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from typing import TYPE_CHECKING

from trimtab_edge import layout
from trimtab_edge.durable import flush_directory, make_directory, rename, write_file, write_link
from trimtab_edge.lifecycle.release import Release
from trimtab_edge.settings import MAX_BYTES, read_description
from trimtab_kernel.identity import Digest, IdentityError, Version
from trimtab_kernel.problems import InputError, TrustError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from trimtab_edge.settings import ModelDescription

_CHUNK = 1024 * 1024


class ModelStore:
    """The agent's hand in the model repository. Methods raise OSError where the disk does not do what it should."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def home(self, model: str) -> Path:
        """The model's directory."""
        return self.directory / model

    def incoming(self, model: str, release: Release) -> Path:
        """Where the bytes of a release are fetched to; its directory is made."""
        directory = self.home(model) / layout.INCOMING
        make_directory(directory)
        return directory / release.digest.hex

    def _final(self, model: str, digest: Digest) -> Path:
        return self.home(model) / layout.BY_DIGEST / digest.hex

    def _unfinished(self, model: str, digest: Digest) -> Path:
        return self.home(model) / layout.BY_DIGEST / f".{digest.hex}"

    def make_room(self, model: str, release: Release) -> Path:
        """Where the bytes are to be fetched to, once what is left of damaged ones is out of the way."""
        final = self._final(model, release.digest)
        if final.exists() and not self.holds(model, release):
            _remove(final)
        return self.incoming(model, release)

    def holds(self, model: str, release: Release) -> bool:
        """Whether the release is staged and its file has the right size."""
        path = self._final(model, release.digest) / layout.model_file(release.format)
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return False
        return not release.size or size == release.size

    def verify(self, model: str, release: Release) -> bool:
        """Read the bytes back from the disk, wherever they are on their way. False: they are gone.

        Raises :class:`TrustError` (E301, E302), and has removed the bytes then.
        """
        file = layout.model_file(release.format)
        places = (
            self._final(model, release.digest) / file,
            self._unfinished(model, release.digest) / file,
            self.incoming(model, release),
        )
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            return False
        try:
            _check(path, release)
        except TrustError:
            path.unlink()
            flush_directory(path.parent)
            raise
        return True

    def stage(self, model: str, release: Release) -> bool:
        """Put the verified bytes and their description under their digest. False: the bytes are gone."""
        final, unfinished = self._final(model, release.digest), self._unfinished(model, release.digest)
        file = layout.model_file(release.format)
        if not (final / file).is_file():
            make_directory(unfinished)
            if not (unfinished / file).is_file():
                incoming = self.incoming(model, release)
                if not incoming.is_file():
                    return False
                rename(incoming, unfinished / file)
            write_file(unfinished / layout.DESCRIPTION_FILE, release.description.to_bytes())
            if final.exists():  # left half removed by a prune that was cut short
                _remove(final)
            rename(unfinished, final)
        self.describe(model, release)
        return True

    def describe(self, model: str, release: Release) -> None:
        """Write ``model.yaml`` where it does not say what ``release`` says."""
        path = self._final(model, release.digest) / layout.DESCRIPTION_FILE
        content = release.description.to_bytes()
        if _read(path, MAX_BYTES) != content:
            write_file(path, content)

    def switch(self, model: str, release: Release) -> bool:
        """Let ``active.json`` name the release; False: its files are gone, and nothing is changed."""
        if not self.holds(model, release):
            return False
        self._link(model, release)
        active = layout.Active(release.version, release.digest).to_bytes()
        path = self.home(model) / layout.ACTIVE_FILE
        if _read(path, layout.MAX_ACTIVE_BYTES) != active:
            write_file(path, active)
        return True

    def _link(self, model: str, release: Release) -> None:
        """``<version>`` is a link to the digest's directory, for people and for tools that go by versions."""
        path = self.home(model) / release.version
        target = f"{layout.BY_DIGEST}/{release.digest.hex}"
        if path.is_symlink() and os.readlink(path) == target:  # noqa: PTH115 - the text of the link, as it was written
            return
        if path.is_dir() and not path.is_symlink():
            # Put there by hand, or delivered with the device: out of the way, by one rename.
            rename(path, self.home(model) / f".replaced-{release.version}")
        write_link(path, target)

    def settle(self, model: str, release: Release, *, thorough: bool) -> bool:
        """Make sure that the release is whole and named by ``active.json``; False: its files are gone or damaged."""
        final = self._final(model, release.digest)
        if not self.holds(model, release):
            if final.exists():
                _remove(final)
            return False
        if thorough:
            path = final / layout.model_file(release.format)
            try:
                _check(path, release)
            except TrustError:
                # Not to be taken for whole again; the name goes first, so that a half removal cannot be mistaken.
                _remove(final)
                return False
        self.describe(model, release)
        return self.switch(model, release)

    def withdraw(self, model: str, release: Release) -> None:
        """Take a release out that there is nothing to go back from: first its files, so that no server finds them."""
        path = self.home(model) / release.version
        target = f"{layout.BY_DIGEST}/{release.digest.hex}"
        if path.is_symlink() and os.readlink(path) == target:  # noqa: PTH115 - see above
            path.unlink()
        if self._final(model, release.digest).exists():
            _remove(self._final(model, release.digest))
        active = layout.Active(release.version, release.digest).to_bytes()
        if _read(self.home(model) / layout.ACTIVE_FILE, layout.MAX_ACTIVE_BYTES) == active:
            (self.home(model) / layout.ACTIVE_FILE).unlink()
            flush_directory(self.home(model))

    def prune(self, model: str, keep: Iterable[Release]) -> None:
        """Remove what the agent put there for other releases: links, files, downloads."""
        kept = list(keep)
        versions, digests = {release.version for release in kept}, {release.digest.hex for release in kept}
        home = self.home(model)
        if not home.is_dir():
            return
        for path in list(home.iterdir()):
            if path.is_symlink() and path.name not in versions and _is_version(path.name):
                path.unlink()
            elif path.name.startswith(".replaced-"):
                _remove(path)
        for folder in (home / layout.BY_DIGEST, home / layout.INCOMING):
            if folder.is_dir():
                for path in list(folder.iterdir()):
                    if path.name not in digests:
                        _remove(path)
                flush_directory(folder)
        flush_directory(home)

    def adopt(self, model: str) -> Release | None:
        """The release that is active on the device, if its bytes are what ``active.json`` says; else None.

        Files that were delivered under their version are moved under their digest, so that they are kept like any.
        """
        home = self.home(model)
        try:
            content = _read(home / layout.ACTIVE_FILE, layout.MAX_ACTIVE_BYTES)
            active = layout.parse_active(content) if content is not None else None
        except InputError:
            return None
        if active is None or active.digest is None:
            return None
        final, delivered = self._final(model, active.digest), home / active.version
        found = next((place for place in (final, delivered) if place.is_dir()), None)
        if found is None:
            return None
        file = next(
            (found / name for name in (layout.MODEL_FILE, layout.OPAQUE_FILE) if (found / name).is_file()), None
        )
        if file is None:
            return None
        try:
            description = _description(found)
        except InputError:
            return None
        served = layout.SERVED_FORMAT if file.name == layout.MODEL_FILE else description.format
        release = Release(active.version, active.digest, file.stat().st_size, served, "", description)
        try:
            _check(file, release)
        except TrustError:
            return None
        if found == delivered and not delivered.is_symlink():
            make_directory(final.parent)
            rename(delivered, final)
        return release

    def models(self) -> list[str]:
        """Every model that has an ``active.json``."""
        return sorted(path.parent.name for path in self.directory.glob(f"*/{layout.ACTIVE_FILE}"))


def _description(directory: Path) -> ModelDescription:
    return read_description(_read(directory / layout.DESCRIPTION_FILE, MAX_BYTES) or b"{}", layout.DESCRIPTION_FILE)


def _check(path: Path, release: Release) -> None:
    """Raises :class:`TrustError` unless the file is the release's."""
    size = path.stat().st_size
    if release.size and size != release.size:
        raise TrustError("E302", f"{release.version}: {size} bytes on disk, expected {release.size}")
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            hasher.update(chunk)
    if hasher.hexdigest() != release.digest.hex:
        raise TrustError("E301", f"{release.version}: sha256:{hasher.hexdigest()} on disk, expected {release.digest}")


def _read(path: Path, limit: int) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(limit + 1)
    except FileNotFoundError:
        return None


def _is_version(name: str) -> bool:
    with contextlib.suppress(IdentityError):
        Version.parse(name)
        return True
    return False


def _remove(path: Path) -> None:
    """A directory is renamed first: half a release never stands under a whole one's name."""
    if path.is_dir() and not path.is_symlink():
        doomed = path if path.name.startswith(".") else path.with_name(f".{path.name}.removed")
        if doomed != path:
            if doomed.exists():
                shutil.rmtree(doomed)
            rename(path, doomed)
        shutil.rmtree(doomed)
    else:
        path.unlink()
