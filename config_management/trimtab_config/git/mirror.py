"""A bare mirror of a remote repository's branches: the bot reads history on its own disk, from one place that may be far.

Fetching is the only thing here that talks to a network, over HTTPS (plain HTTP to loopback alone). Every object that comes
is checked before it is kept (``transfer.fsckObjects``). The token goes to git in its environment, so no process list, no
configuration and no log shows it.
"""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import time
import urllib.parse
from typing import TYPE_CHECKING

from trimtab_config.git.process import GRACE, environment, run
from trimtab_kernel.problems import InputError, OutsideError, Problem, quoted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trimtab_config.git.process import Answer

TIMEOUT = 300.0
"""Seconds for one fetch; the first one brings the whole history."""
STALE = TIMEOUT + GRACE + 5.0
"""Seconds after which a lock file belongs to nobody: git is ended before."""


class GitMirror:
    """The mirror at ``path`` of the repository at ``url``. ``token`` gives the password of the moment, None for none.

    Raises InputError (G109) for an address that is not HTTPS, or that holds a password.
    """

    def __init__(self, path: Path, url: str, token: Callable[[], str] | None = None) -> None:
        self.path = path
        self._url = _checked(url)
        self._token = token

    def update(self) -> None:
        """Bring every branch to where it is there, and remove what is gone. Raises OutsideError."""
        if not (self.path / "HEAD").exists():
            made = run(["init", "--quiet", "--bare", "--initial-branch=main", str(self.path)])
            if made.status != 0:
                raise OutsideError(f"{self.path} cannot be made: {made.complaint}")
        settings = {
            "protocol.https.allow": "always",
            "protocol.http.allow": "always",
            "transfer.fsckObjects": "true",
            "http.followRedirects": "false",
            "http.lowSpeedLimit": "1000",
            "http.lowSpeedTime": "30",
        }
        if self._token is not None:
            pair = base64.b64encode(f"x-access-token:{self._token()}".encode()).decode()
            settings["http.extraHeader"] = f"Authorization: Basic {pair}"
        answer = self._fetch(settings)
        if answer.status != 0 and ".lock" in answer.complaint and self._without_stale_locks():
            answer = self._fetch(settings)
        if answer.status != 0:
            raise OutsideError(f"cannot fetch {self._url}: {answer.complaint or f'git ended with {answer.status}'}")

    def _fetch(self, settings: dict[str, str]) -> Answer:
        return run(
            [
                *("fetch", "--quiet", "--prune", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head"),
                *("--atomic", self._url, "+refs/heads/*:refs/heads/*"),
            ],
            git_dir=self.path,
            extra=_with(settings),
            timeout=TIMEOUT,
        )

    def _without_stale_locks(self) -> bool:
        """Removes what a git that was killed left locked; whether there was any. Of ours none lives this long."""
        found = False
        oldest = time.time() - STALE
        for lock in [*self.path.glob("*.lock"), *self.path.joinpath("refs").rglob("*.lock")]:
            with contextlib.suppress(FileNotFoundError):
                if lock.lstat().st_mtime < oldest:
                    lock.unlink()
                    found = True
        return found


def _with(settings: dict[str, str]) -> dict[str, str]:
    """More settings in the environment, after those that every git here gets."""
    first = int(environment()["GIT_CONFIG_COUNT"])
    found = {"GIT_CONFIG_COUNT": str(first + len(settings)), "GIT_ALLOW_PROTOCOL": "http:https"}
    for number, (key, value) in enumerate(settings.items(), first):
        found[f"GIT_CONFIG_KEY_{number}"] = key
        found[f"GIT_CONFIG_VALUE_{number}"] = value
    return found


def _checked(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    good = parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname or ""))
    if not good or not parts.hostname or parts.username or parts.password or not url.isprintable() or " " in url:
        shown = quoted(urllib.parse.urlunsplit(parts._replace(netloc=parts.hostname or "")))
        raise InputError(
            Problem("G109", got=shown, expected="https://HOST/OWNER/NAME.git without a name or password in it")
        )
    return url


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
