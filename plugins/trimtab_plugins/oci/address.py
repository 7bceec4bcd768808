"""Where an artifact lies: ``oci://HOST[:PORT]/REPOSITORY[:TAG][@DIGEST]``. Pure."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace

from trimtab_kernel.problems import InputError, Problem, quoted

SCHEME = "oci://"
MAX_REPOSITORY = 255
# The grammar of the OCI distribution specification v1.1, "Pulling manifests".
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HOST = re.compile(r"(?:\[[0-9a-f:]+\]|[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)(?::[0-9]{1,5})?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Address:
    """``host`` with its port where one is given; ``tag`` and ``digest`` are "" where they are not."""

    host: str
    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def reference(self) -> str:
        """What a manifest is asked for by: the digest, else the tag."""
        return self.digest or self.tag

    @property
    def is_loopback(self) -> bool:
        """Whether the host is this machine by its very name, so that plain HTTP leaves nothing in the open."""
        return is_loopback(self.host)

    def below(self, group: str) -> Address:
        """The repository of one device group under this one. Raises InputError (A306) where the name becomes too long."""
        made = replace(self, repository=f"{self.repository}/{group}")
        if len(made.repository) > MAX_REPOSITORY:
            raise _refused(str(made), f"a repository of at most {MAX_REPOSITORY} characters")
        return made

    def __str__(self) -> str:
        """As it is written on the command line."""
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{SCHEME}{self.host}/{self.repository}{tag}{digest}"


def is_loopback(host: str) -> bool:
    """Whether a host, with or without a port, is this machine by its very name."""
    name = re.sub(r":[0-9]+\Z", "", host).strip("[]").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def parse_address(text: str) -> Address:
    """Raises InputError (A306) for what is not an address."""
    if not text.startswith(SCHEME):
        raise _refused(text, f"an address that begins with {SCHEME}")
    rest, _, digest = text.removeprefix(SCHEME).partition("@")
    if digest and not _DIGEST.fullmatch(digest):
        raise _refused(text, 'a digest of "sha256:" and 64 lower case hex digits')
    host, _, path = rest.partition("/")
    repository, colon, tag = path.partition(":")
    if not _HOST.fullmatch(host):
        raise _refused(text, "the name of a host after oci://, and no user or password in it")
    if not _REPOSITORY.fullmatch(repository) or len(repository) > MAX_REPOSITORY:
        raise _refused(text, 'a repository of lower case letters, digits, ".", "_", "-" and "/"')
    if colon and not _TAG.fullmatch(tag):
        raise _refused(text, 'a tag of at most 128 letters, digits, ".", "_" and "-"')
    return Address(host, repository, tag, digest)


def _refused(text: str, expected: str) -> InputError:
    # A password that was written where none belongs is not repeated.
    shown = re.sub(r"//[^/@]*@", "//...@", text)
    return InputError(Problem("A306", got=quoted(shown, 300), expected=expected, hint=f"{SCHEME}HOST/REPOSITORY:TAG"))
