"""Fleet files from a folder, or from one file. The bytes are anybody's: they may come from a stranger's pull request.

No link is followed: one that stays inside is skipped, because its target is read at its own place; one that leaves the
folder is a Problem. Sizes are asked for before anything is read, and pipes and devices are never opened for good.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_config.sources.selection import MAX_FILE_BYTES, MAX_FILES, MAX_TOTAL_BYTES, is_manifest
from trimtab_kernel.problems import InputError, Problem, sort_problems
from trimtab_kernel.records import dataclass, replace

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_ENTRIES = 500_000  # of the whole tree, manifests or not


@dataclass(frozen=True, slots=True)
class Folder:
    """Paths relative to the folder, with "/", to their bytes; and what could not be read."""

    files: dict[str, bytes]
    problems: tuple[Problem, ...]


class _Reading:
    """What was read so far; ``total`` in bytes."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.problems: list[Problem] = []
        self.total = 0


class TooMuchError(Exception):
    """A limit of the whole tree is exceeded; its problem is recorded."""


def load_folder(path: Path) -> dict[str, bytes]:
    """The manifests below ``path``, or the one file that it names (whatever its suffix).

    Raises :class:`InputError` (F103, F118) if anything there cannot be read whole.
    """
    folder = read_folder(path)
    if folder.problems:
        raise InputError(*folder.problems)
    return folder.files


def load_placed(path: Path) -> tuple[dict[str, bytes], str]:
    """As :func:`load_folder`, and where the files lie; the problems of what it raises name files from there on."""
    prefix = path.as_posix() if path.is_dir() else path.parent.as_posix()
    try:
        return load_folder(path), prefix
    except InputError as error:
        found = (replace(problem, file=(Path(prefix) / problem.file).as_posix()) for problem in error.problems)
        raise InputError(*found) from None


def read_folder(path: Path) -> Folder:
    """As :func:`load_folder`, but what cannot be read is listed beside what can. Raises nothing."""
    reading = _Reading()
    try:
        # A path that the caller names may be a link: only what lies below it is not theirs to vouch for.
        if path.is_dir():
            _read_tree(path, reading)
        else:
            _read_file(str(path), path.name, reading, follow=True)
    except TooMuchError:
        pass
    except OSError as error:
        reading.problems.append(_unreadable(path.name, error))
    return Folder(dict(sorted(reading.files.items())), sort_problems(reading.problems))


def _read_tree(root: Path, reading: _Reading) -> None:
    for entry, name in _walk(root, reading):
        if entry.is_symlink():
            _judge_link(root, Path(entry.path), name, reading)
        elif is_manifest(name):
            _read_file(entry.path, name, reading)


def _walk(root: Path, reading: _Reading) -> Iterator[tuple[os.DirEntry[str], str]]:
    """All entries but folders, with their relative names, in order of folder and name."""
    waiting = [(str(root), "")]
    seen = 0
    while waiting:
        folder, prefix = waiting.pop()
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            reading.problems.append(_unreadable(prefix.rstrip("/"), error))
            continue
        for entry in entries:
            seen += 1
            if seen > MAX_ENTRIES:
                got, expected = f"more than {MAX_ENTRIES} files and folders", f"at most {MAX_ENTRIES}"
                reading.problems.append(Problem("F103", "", 0, "", got, expected))
                raise TooMuchError
            if entry.name.startswith("."):
                continue
            name = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                waiting.append((entry.path, f"{name}/"))
            else:
                yield entry, name


def walked(root: Path) -> Iterator[tuple[os.DirEntry[str], str]]:
    """All entries but folders, with their relative names. Raises OSError for a folder that cannot be read, TooMuchError."""
    reading = _Reading()
    yield from _walk(root, reading)
    if reading.problems:
        raise OSError(reading.problems[0].got)


def judged_link(root: Path, path: str, name: str) -> tuple[Problem, ...]:
    """What is wrong with a link of a fleet's folder."""
    reading = _Reading()
    _judge_link(root, Path(path), name, reading)
    return tuple(reading.problems)


def open_plain(path: str) -> tuple[bytes, os.stat_result]:
    """The bytes of a plain file within the limit, and its status before they were read. Raises OSError for anything else."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE_BYTES:
            raise OSError(errno.EINVAL, "not a plain file within the limit", path)
        content = _content(descriptor, status.st_size)
    finally:
        os.close(descriptor)
    if len(content) > MAX_FILE_BYTES:
        raise OSError(errno.EFBIG, "not a plain file within the limit", path)
    return content, status


def _judge_link(root: Path, path: Path, name: str, reading: _Reading) -> None:
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):
        if is_manifest(name):
            reading.problems.append(Problem("F118", name, 0, "", "a link to nothing", "a file"))
        return
    inside = target.is_relative_to(root.resolve())
    if target.is_dir():
        if not inside:
            reading.problems.append(
                Problem("F118", name, 0, "", "a link to a folder outside", "files inside the fleet folder")
            )
    elif is_manifest(name) and not (inside and is_manifest(target.relative_to(root.resolve()).as_posix())):
        got = "a link to a file that is no manifest" if inside else "a link to a file outside"
        reading.problems.append(Problem("F118", name, 0, "", got, "files inside the fleet folder"))


def _read_file(path: str, name: str, reading: _Reading, *, follow: bool = False) -> None:
    if len(reading.files) >= MAX_FILES:
        reading.problems.append(
            Problem("F103", "", 0, "", f"more than {MAX_FILES} files", f"at most {MAX_FILES} files")
        )
        raise TooMuchError
    # Not to block on a pipe, and not to be led elsewhere by a link that was put there meanwhile.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                reading.problems.append(Problem("F118", name, 0, "", "not a plain file", "a plain file"))
                return
            if status.st_size > MAX_FILE_BYTES:
                got, expected = f"{status.st_size} bytes", f"at most {MAX_FILE_BYTES} bytes in one file"
                reading.problems.append(Problem("F103", name, 0, "", got, expected))
                return
            content = _content(descriptor, status.st_size)
        finally:
            os.close(descriptor)
    except OSError as error:
        reading.problems.append(_unreadable(name, error))
        return
    reading.total += len(content)
    if reading.total > MAX_TOTAL_BYTES:
        expected = f"at most {MAX_TOTAL_BYTES} bytes in all files together"
        reading.problems.append(Problem("F103", name, 0, "", f"more than {MAX_TOTAL_BYTES} bytes", expected))
        raise TooMuchError
    reading.files[name] = content


def _content(descriptor: int, size: int) -> bytes:
    """A file of ``size`` bytes by its own account; of one that is larger meanwhile, at most one byte more than may be."""
    content = os.read(descriptor, size + 1)
    if len(content) == size:
        return content
    while len(content) <= MAX_FILE_BYTES:
        more = os.read(descriptor, MAX_FILE_BYTES + 1 - len(content))
        if not more:
            break
        content += more
    return content


def _unreadable(name: str, error: OSError) -> Problem:
    reason = {
        errno.ENOENT: "no such file or folder",
        errno.EACCES: "no permission to read it",
        errno.ELOOP: "a link",
        errno.ENXIO: "not a plain file",
    }.get(error.errno or 0, (error.strerror or "an error").lower())
    return Problem("F118", name, 0, "", reason, "a plain file that can be read")
