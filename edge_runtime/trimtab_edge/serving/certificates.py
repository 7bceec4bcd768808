"""What the server shows its clients under TLS, and whom it lets in under mutual TLS: three files in PEM that may change.

A change is taken up by the next handshake, once the files fit together; connections that stand are not touched. Until
they fit, what fitted before is shown on. Nothing of a key is ever in a message.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from trimtab_edge.reading import read_limited
from trimtab_kernel.problems import InputError, Problem, quoted

_log = logging.getLogger("trimtab.serve")
MAX_BYTES = 1024 * 1024
LOOK_SECONDS = 1.0
CERTIFICATE, KEY, CLIENT_CA = "--tls-certificate", "--tls-key", "--tls-client-ca"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Certificate chain, its key, and the authorities whose clients may connect; None: every client may."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


@dataclass(frozen=True, slots=True)
class Pem:
    """The contents of the files."""

    certificate: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None = None


class Credentials:
    """The files as they were when they last fitted together. Construction raises :class:`InputError` (E103)."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._stamp = self._stamps()
        self.pem, self._current = _read(files)
        self.context = self._current
        """For listeners. Each handshake that it begins goes on under what is current then."""
        self.context.sni_callback = self._choose

    def look(self) -> bool:
        """Take up changed files; whether there was anything to take up. Files that do not fit are logged, once."""
        stamp = self._stamps()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            pem, context = _read(self._files)
        except InputError as error:
            _log.warning("tls: what was there before is shown on: %s", error)
            return False
        if pem == self.pem:
            return False
        self.pem, self._current = pem, context
        _log.info("tls: the changed files are shown from now on")
        return True

    async def watch(self) -> None:
        """Look once a second, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look()

    def _choose(self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, first: ssl.SSLContext) -> None:
        del name, first
        connection.context = self._current

    def _stamps(self) -> tuple[tuple[int, int, int] | None, ...]:
        files = self._files
        return tuple(_stamp(path) for path in (files.certificate, files.key, files.client_ca) if path is not None)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _read(files: TlsFiles) -> tuple[Pem, ssl.SSLContext]:
    pem = _contents(files)
    context = _context(files, pem)
    # The ssl module reads certificate and key itself; were they replaced meanwhile, it has others than we do.
    if _contents(files) != pem:
        raise _unfit(CERTIFICATE, files.certificate, "it changed while it was read", "files that are replaced together")
    return pem, context


def _contents(files: TlsFiles) -> Pem:
    return Pem(
        _content(CERTIFICATE, files.certificate, b"-----BEGIN CERTIFICATE-----", "a certificate in PEM"),
        _content(KEY, files.key, b"PRIVATE KEY-----", "a private key in PEM"),
        None
        if files.client_ca is None
        else _content(CLIENT_CA, files.client_ca, b"-----BEGIN CERTIFICATE-----", "certificates of authorities in PEM"),
    )


def _content(option: str, path: Path, mark: bytes, expected: str) -> bytes:
    try:
        content = read_limited(path, MAX_BYTES)
    except OSError as error:
        raise _unfit(option, path, error.strerror or type(error).__name__, expected) from None
    if mark not in content or len(content) > MAX_BYTES:
        raise _unfit(option, path, "another content", expected)
    return content


def _context(files: TlsFiles, pem: Pem) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    password = _Password()
    try:
        context.load_cert_chain(files.certificate, files.key, password)
    except (ssl.SSLError, OSError, ValueError) as error:
        if password.asked:
            raise _unfit(
                KEY, files.key, "a key under a passphrase", "a key without one, readable by the server only"
            ) from None
        raise _unfit(KEY, files.key, _reason(error), f"the key of the certificate in {CERTIFICATE}") from None
    if pem.client_ca is not None:
        assert files.client_ca is not None
        try:
            context.load_verify_locations(cadata=pem.client_ca.decode("ascii"))
        except (ssl.SSLError, ValueError) as error:
            raise _unfit(CLIENT_CA, files.client_ca, _reason(error), "certificates of authorities in PEM") from None
        context.verify_mode = ssl.CERT_REQUIRED
        # A resumed session would outlive the authority that let its client in.
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
    return context


class _Password:
    """Without it the ssl module would ask on the terminal."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self) -> bytes:
        self.asked = True
        return b""


def _reason(error: Exception) -> str:
    # OpenSSL's name of the mistake: its texts hold nothing of the files.
    reason = error.reason if isinstance(error, ssl.SSLError) else None
    return (reason or type(error).__name__).replace("_", " ").lower()


def _unfit(option: str, path: Path, got: str, expected: str) -> InputError:
    return InputError(Problem("E103", "", 0, option, f"{quoted(str(path))}: {got}", expected))
