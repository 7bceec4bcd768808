"""Who pushes: the environment, or what ``docker login`` left. Never an argument, never shown."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_kernel.problems import OutsideError, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

USERNAME = "TRIMTAB_REGISTRY_USERNAME"
PASSWORD = "TRIMTAB_REGISTRY_PASSWORD"  # noqa: S105 - the name of a variable
_MAX_CONFIG = 1024 * 1024
_HELPER_SECONDS = 30
_HELPER = re.compile(r"[A-Za-z0-9._-]+")
_DOCKER_HUB = "https://index.docker.io/v1/"


@dataclass(frozen=True, slots=True)
class Login:
    """A name and a secret for one registry; the secret is not shown by ``repr``."""

    username: str
    password: str = field(repr=False)

    @property
    def basic(self) -> str:
        """The value of an Authorization header (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode("ascii")


def find_login(host: str, environment: Mapping[str, str] | None = None) -> Login | None:
    """The login for a registry, None where there is none.

    First both variables TRIMTAB_REGISTRY_USERNAME and TRIMTAB_REGISTRY_PASSWORD, then ``config.json`` in DOCKER_CONFIG or
    ``~/.docker``: ``credHelpers``, ``auths``, ``credsStore``. Raises OutsideError where that file or its helper cannot be
    used; a push that fell back to nobody would be denied without saying why.
    """
    given = os.environ if environment is None else environment
    if given.get(USERNAME) and given.get(PASSWORD):
        return Login(given[USERNAME], given[PASSWORD])
    folder = Path(given["DOCKER_CONFIG"]) if given.get("DOCKER_CONFIG") else Path(given.get("HOME", "/")) / ".docker"
    settings = _read(folder / "config.json")
    helpers = settings.get("credHelpers")
    helper = helpers.get(host) if isinstance(helpers, dict) else None
    if isinstance(helper, str):
        return _ask(helper, host)
    auths = settings.get("auths")
    for key in (host, f"https://{host}", f"http://{host}", *((_DOCKER_HUB,) if host.endswith("docker.io") else ())):
        entry = auths.get(key) if isinstance(auths, dict) else None
        if isinstance(entry, dict) and isinstance(entry.get("auth"), str) and entry["auth"]:
            return _decoded(entry["auth"], folder)
    store = settings.get("credsStore")
    return _ask(store, host) if isinstance(store, str) and store else None


def _read(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            content = json.loads(file.read(_MAX_CONFIG))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        raise OutsideError(
            f"cannot read {printable(str(path))}; log in again, or set {USERNAME} and {PASSWORD}"
        ) from None
    return content if isinstance(content, dict) else {}


def _decoded(auth: str, folder: Path) -> Login:
    try:
        username, colon, password = base64.b64decode(auth, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        colon = username = password = ""
    if not colon:
        raise OutsideError(f"an entry of {printable(str(folder))}/config.json cannot be read; log in again")
    return Login(username, password)


def _ask(helper: str, host: str) -> Login | None:
    """A credential helper's answer. Its complaints may hold secrets, so they are not repeated."""
    if not _HELPER.fullmatch(helper):
        raise OutsideError("the credential helper in docker's config.json has no plain name; repair the file")
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [program, "get"], input=host.encode(), capture_output=True, timeout=_HELPER_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        raise OutsideError(f"{program} does not answer; check that it is installed and logged in") from None
    if done.returncode != 0:
        if b"not found" in done.stdout.lower():
            return None
        raise OutsideError(f"{program} failed with exit code {done.returncode}; check that it is logged in")
    try:
        said = json.loads(done.stdout[:_MAX_CONFIG])
        return Login(str(said["Username"]), str(said["Secret"]))
    except (ValueError, KeyError, TypeError):
        raise OutsideError(f"{program} answered what is no login") from None
