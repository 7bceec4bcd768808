"""The git binary as a child process: an environment of our own, a deadline, and bounds on what it may say.

Git is run on one explicit directory. Neither the machine's nor the person's configuration counts, no hook runs, nothing
prompts, and no transport is allowed: a repository that somebody else filled can choose nothing here.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import IO, TYPE_CHECKING

from trimtab_kernel.problems import OutsideError, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

OLDEST = (2, 38)  # merge-tree --write-tree and cat-file -z; release notes of Git 2.38
TIMEOUT = 60.0  # s
GRACE = 5.0  # s between asking git to stop and ending it
MAX_OUTPUT = 64 * 1024 * 1024
# Attributes of a tree could choose how files merge ("merge=union"); newer git reads them in bare repositories too.
_EMPTY_TREE = {
    40: "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    64: "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321",
}
_SETTINGS = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.attributesFile": os.devnull,
    "core.quotePath": "false",
    "core.filesRefLockTimeout": "3000",  # ms; two writers of one ref wait for each other
    "core.packedRefsTimeout": "3000",
    "core.fsync": "objects,derived-metadata,reference",  # loose objects are not flushed by default
    "core.logAllRefUpdates": "false",
    "gc.auto": "0",
    "protocol.allow": "never",
    "advice.graftFileDeprecated": "false",  # an empty graft file is how grafts are switched off
    "merge.renames": "true",
    "merge.directoryRenames": "conflict",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """How a git command ended. ``complaint`` is its first line on stderr, safe to show."""

    status: int
    output: bytes
    complaint: str


def environment(id_length: int = 40) -> dict[str, str]:
    """All that git gets to see of ours: where programs are. The rest is set here."""
    settings = list(_SETTINGS.items())
    variables = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C",
        "TZ": "UTC",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_COUNT": str(len(settings)),
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_ATTR_SOURCE": _EMPTY_TREE[id_length],
        "GIT_ALLOW_PROTOCOL": "",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_GRAFT_FILE": os.devnull,
        "GIT_LITERAL_PATHSPECS": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "false",
        "SSH_ASKPASS": "false",
        "GIT_EDITOR": "false",
        "GIT_PAGER": "cat",
    }
    if "TMPDIR" in os.environ:
        variables["TMPDIR"] = os.environ["TMPDIR"]
    for number, (key, value) in enumerate(settings):
        variables[f"GIT_CONFIG_KEY_{number}"] = key
        variables[f"GIT_CONFIG_VALUE_{number}"] = value
    return variables


def require_version() -> None:
    """Raises OutsideError where git is missing or older than :data:`OLDEST`."""
    version, text = _version(os.environ.get("PATH", os.defpath))
    if version < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        raise OutsideError(f'"{text}" is too old: git {wanted} or newer is needed (it merges without a working tree)')


@lru_cache(maxsize=4)
def _version(path: str) -> tuple[tuple[int, int], str]:
    del path  # the key of the cache: another PATH may hold another git
    answer = run(["version"], limit=1024)
    text = printable(answer.output.decode("ascii", "replace").strip())
    match = re.match(r"git version ([0-9]+)\.([0-9]+)", text)
    if answer.status != 0 or match is None:
        raise OutsideError(f'"git version" gave "{text}", expected a version; check which git is on the PATH')
    return (int(match[1]), int(match[2])), text


def run(
    arguments: Sequence[str],
    *,
    git_dir: Path | None = None,
    given: bytes = b"",
    extra: dict[str, str] | None = None,
    id_length: int = 40,
    limit: int = MAX_OUTPUT,
    timeout: float = TIMEOUT,
) -> Answer:
    """Run one git command to its end. ``given`` is its standard input, ``extra`` more variables.

    Raises OutsideError where git cannot be started, takes longer than ``timeout`` seconds or says more than ``limit`` bytes.
    """
    with tempfile.TemporaryFile() as source:
        source.write(given)
        source.seek(0)
        with _child(arguments, git_dir, source, environment(id_length) | (extra or {}), timeout) as child:
            assert child.process.stdout is not None
            output = child.process.stdout.read(limit + 1)
            if len(output) > limit:
                raise OutsideError(f'"git {arguments[0]}" said more than {limit} bytes; narrow what is asked for')
            child.process.wait()
            child.check()
            return Answer(child.process.returncode, output, child.complaint())


class Conversation:
    """A running ``git cat-file --batch-command``: objects by id, many per process.

    Ids are checked before they are sent, so that no name can become a command.
    """

    def __init__(self, child: _Child) -> None:
        """Made by :func:`conversation` only."""
        self._child = child

    def sizes(self, ids: Sequence[str]) -> Iterator[tuple[str, int] | None]:
        """Type and size in bytes of each object, None for one that is missing, in the order asked."""
        for chunk in _chunks(ids):
            self._ask("info", chunk)
            for sha in chunk:
                yield self._header(sha)

    def contents(self, ids: Sequence[str]) -> Iterator[tuple[str, bytes] | None]:
        """Type and bytes of each object, None for one that is missing, in the order asked."""
        for chunk in _chunks(ids):
            self._ask("contents", chunk)
            for sha in chunk:
                header = self._header(sha)
                yield None if header is None else (header[0], self._exactly(header[1]))

    def _ask(self, command: str, ids: Sequence[str]) -> None:
        stdin = self._child.process.stdin
        assert stdin is not None
        try:
            stdin.write(b"".join(f"{command} {sha}\n".encode() for sha in ids) + b"flush\n")
            stdin.flush()
        except BrokenPipeError:
            raise self._child.broken() from None

    def _header(self, sha: str) -> tuple[str, int] | None:
        stdout = self._child.process.stdout
        assert stdout is not None
        line = stdout.readline(1024)
        parts = line.split()
        if len(parts) == 2 and parts[1] == b"missing":
            return None
        if len(parts) != 3 or parts[0] != sha.encode() or not parts[2].isdigit():
            raise self._child.broken()
        return parts[1].decode("ascii", "replace"), int(parts[2])

    def _exactly(self, size: int) -> bytes:
        stdout = self._child.process.stdout
        assert stdout is not None
        content = stdout.read(size + 1)
        if len(content) != size + 1:
            raise self._child.broken()
        return content[:-1]


@contextmanager
def conversation(git_dir: Path, *, id_length: int = 40, timeout: float = TIMEOUT) -> Iterator[Conversation]:
    """A conversation that ends, at the latest, after ``timeout`` seconds with an OutsideError."""
    arguments = ["cat-file", "--batch-command", "--buffer"]
    with _child(arguments, git_dir, subprocess.PIPE, environment(id_length), timeout) as child:
        yield Conversation(child)


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    # A chunk of requests fits into a pipe (64 KiB on Linux, 16 KiB elsewhere), so that neither side can wait for the other.
    step = 150
    for start in range(0, len(ids), step):
        yield ids[start : start + step]


class _Child:
    """A git process with a deadline."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], errors: IO[bytes], timeout: float) -> None:
        self.name = name
        self.process = process
        self.timeout = timeout
        self._errors = errors
        self._late = threading.Event()
        self._timer = threading.Timer(timeout, self._end)
        self._timer.daemon = True
        self._timer.start()

    def _end(self) -> None:
        self._late.set()
        self.process.terminate()  # git removes its lock files when asked to stop; killed, it cannot
        try:
            self.process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def close(self) -> None:
        """The process is gone afterwards: one that only reads is ended, one that may write gets to its end."""
        if self.process.stdin is not None:
            self.process.kill()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                self._close(stream)
        self.process.wait()
        self._timer.cancel()
        self._timer.join()

    @staticmethod
    def _close(stream: IO[bytes]) -> None:
        try:
            stream.close()
        except BrokenPipeError:
            return

    def check(self) -> None:
        """Raises OutsideError where the deadline passed or a signal ended git."""
        if self._late.is_set():
            raise OutsideError(f'"git {self.name}" took longer than {self.timeout:g} s and was ended; try again')
        status = self.process.returncode
        if status is not None and status < 0:
            raise OutsideError(f'"git {self.name}" was ended by {signal.Signals(-status).name}; try again')

    def complaint(self) -> str:
        self._errors.seek(0)
        text = self._errors.read(4096).decode("utf-8", "backslashreplace").strip()
        lines = [line for line in text.splitlines() if line.strip() and not line.startswith(("hint:", "warning:"))]
        return printable(re.sub(r"^(fatal|error): ", "", lines[0]), 500) if lines else ""

    def broken(self) -> OutsideError:
        """Why a conversation broke off."""
        try:
            self.process.wait(0.5)
            self.check()
        except subprocess.TimeoutExpired:
            self.process.kill()
        except OutsideError as error:
            return error
        return OutsideError(f'"git {self.name}" broke off: {self.complaint() or "an answer that was not asked for"}')


@contextmanager
def _child(
    arguments: Sequence[str],
    git_dir: Path | None,
    given: int | IO[bytes],
    variables: dict[str, str],
    timeout: float,
) -> Iterator[_Child]:
    command = ["git", *([f"--git-dir={git_dir}"] if git_dir is not None else []), *arguments]
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                command,
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=variables,
                cwd="/" if git_dir is None else git_dir,
                # Ctrl-C on the terminal is for us; git finishes what it writes, so that it leaves no lock behind.
                start_new_session=True,
            )
        except FileNotFoundError as error:
            if git_dir is not None and not git_dir.is_dir():
                raise OutsideError(f"{git_dir} is gone; check the path of the repository") from error
            raise OutsideError("git is not on the PATH; install it (package git, 2.38 or newer)") from error
        except OSError as error:
            raise OutsideError(f"git cannot be started: {error.strerror}; check the installation") from error
        child = _Child(arguments[0], process, errors, timeout)
        try:
            yield child
        finally:
            child.close()
