"""An answer of OpenCost's API, fetched: one GET with a deadline and a limit, no redirect, no proxy."""

from __future__ import annotations

import http.client
import ipaddress
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from trimtab_kernel.problems import InputError, OutsideError, Problem, printable, quoted

if TYPE_CHECKING:
    from urllib.parse import SplitResult

_CHUNK = 256 * 1024


def fetch(url: str, *, limit: int, seconds: float) -> bytes:
    """The body of the answer to a GET.

    Plain HTTP is for this machine alone (``kubectl port-forward`` gives such an address); elsewhere it must be HTTPS.
    Raises InputError (F707) for a URL that is neither, OutsideError where no whole answer came within ``seconds`` and
    ``limit`` bytes.
    """
    address = _address(url)
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    assert address.hostname is not None
    connection = kind(address.hostname, address.port, timeout=seconds)
    deadline = time.monotonic() + seconds
    place = f"{address.scheme}://{address.netloc}{address.path}"
    try:
        target = f"{address.path or '/'}{'?' if address.query else ''}{address.query}"
        connection.request("GET", target, headers={"Accept": "application/json", "User-Agent": "trimtab"})
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            raise OutsideError(f"{place} answered {answer.status} {printable(answer.reason, 100)}, expected 200")
        body = bytearray()
        while chunk := answer.read1(_CHUNK):
            body += chunk
            if len(body) > limit:
                raise OutsideError(f"{place} answered more than {limit} bytes; ask for a shorter window")
            if time.monotonic() > deadline:
                raise OutsideError(f"{place} did not answer within {seconds:g} s")
        if answer.length:
            raise OutsideError(f"{place} broke off, {answer.length} bytes are missing")
    except TimeoutError:
        raise OutsideError(f"{place} did not answer within {seconds:g} s") from None
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        raise OutsideError(f"{place}: {printable(str(error) or type(error).__name__, 200)}") from None
    finally:
        connection.close()
    return bytes(body)


def _address(url: str) -> SplitResult:
    expected = "https://..., or http:// on this machine such as http://localhost:9003/allocation?window=month"
    problem = Problem("F707", got=quoted(url), expected=expected)
    try:
        address = urlsplit(url)
        host = address.hostname or ""
        _ = address.port
    except ValueError:
        raise InputError(problem) from None
    if address.username is not None or not host or address.scheme not in {"http", "https"}:
        raise InputError(problem)
    if any(ord(character) <= 32 or ord(character) > 126 for character in url):
        raise InputError(problem)
    if address.scheme == "http" and not _is_here(host):
        raise InputError(problem)
    return address


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
