"""TLS and mutual TLS of the server, with certificates made here: what it shows, whom it lets in, what it refuses."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import socket
import ssl
import subprocess
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from tests.edge import graphs
from tests.edge.devices import COMMAND, Server, place, serving, wait_until
from trimtab_edge.lifecycle.readiness import ServerProbe
from trimtab_edge.serving.certificates import Credentials, TlsFiles
from trimtab_kernel.identity import Digest
from trimtab_kernel.problems import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make certificates")
READY = "/v2/health/live"


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=60)


class Authority:
    """A certificate authority in a directory, and what it signed."""

    def __init__(self, directory: Path, name: str) -> None:
        self.directory, self.name = directory, name
        directory.mkdir(parents=True, exist_ok=True)
        self.certificate, self.key = directory / f"{name}.crt", directory / f"{name}.key"
        openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"),
            *("-subj", f"/CN={name}", "-keyout", str(self.key), "-out", str(self.certificate)),
        )

    def sign(self, name: str) -> tuple[Path, Path]:
        """Certificate and key of somebody on 127.0.0.1."""
        certificate, key, request = (self.directory / f"{name}{ending}" for ending in (".crt", ".key", ".csr"))
        extension = self.directory / "extension"
        extension.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost")
        openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}"),
            *("-keyout", str(key), "-out", str(request)),
        )
        openssl(
            *("x509", "-req", "-in", str(request), "-CA", str(self.certificate), "-CAkey", str(self.key)),
            *("-CAcreateserial", "-days", "2", "-extfile", str(extension), "-out", str(certificate)),
        )
        return certificate, key

    def client(self, identity: tuple[Path, Path] | None = None) -> ssl.SSLContext:
        """How a client that trusts this authority connects."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        if identity is not None:
            context.load_cert_chain(*identity)
        return context


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "fleet")


@contextlib.contextmanager
def secure(tmp_path: Path, certificate: Path, key: Path, *options: str) -> Iterator[Server]:
    place(tmp_path / "models", "adder", "1.0.0", graphs.adder(0.5))
    tls = ("--tls-certificate", str(certificate), "--tls-key", str(key), *options)
    with serving(
        tmp_path / "models", tmp_path / "serve.log", "--metrics-port", "0", "--grpc-port", "0", *tls
    ) as server:
        yield server
        assert server.process.poll() is None
        assert server.stop() == 0
        log = server.log.read_text()
        assert "Traceback" not in log
        assert "PRIVATE KEY" not in log


def ask(server: Server, context: ssl.SSLContext, path: str = READY, *, port: int | None = None) -> int:
    connection = http.client.HTTPSConnection(server.host, port or server.port, timeout=20, context=context)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def shown(server: Server, context: ssl.SSLContext) -> Any:  # noqa: ANN401 - the subject, as the ssl module has it
    """The name on the certificate that a new connection is shown."""
    with (
        socket.create_connection((server.host, server.port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname=server.host) as connection,
    ):
        certificate: Any = connection.getpeercert()
        return dict(pair for [pair] in certificate["subject"])["commonName"]


def grpc_live(server: Server, credentials: grpc.ChannelCredentials) -> str:
    """The name of the status of one call on a new connection."""
    with grpc.secure_channel(server.grpc_address, credentials, (("grpc.use_local_subchannel_pool", 1),)) as channel:
        stub: Any = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
        future = stub.future(b"", timeout=20)
        future.exception()
        name: str = future.code().name
        return name


def test_every_port_speaks_tls_of_version_1_2_at_least(tmp_path: Path, authority: Authority) -> None:
    box = authority.sign("box")
    assert Credentials(TlsFiles(*box)).context.minimum_version == ssl.TLSVersion.TLSv1_2
    with secure(tmp_path, *box) as server:
        assert ask(server, authority.client()) == 200
        assert ask(server, authority.client(), "/metrics", port=server.metrics_port) == 200
        roots = grpc.ssl_channel_credentials(authority.certificate.read_bytes())
        assert grpc_live(server, roots) == "OK"
        old = authority.client()
        old.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(ssl.SSLError):
            ask(server, old)


def test_a_client_in_the_clear_is_turned_away_and_the_server_goes_on(tmp_path: Path, authority: Authority) -> None:
    with secure(tmp_path, *authority.sign("box")) as server:
        for content in (b"GET /v2 HTTP/1.1\r\nhost: x\r\n\r\n", b"\x16\x03\x01\xff\xff", bytes(2000)):
            with socket.create_connection((server.host, server.port), timeout=20) as connection:
                connection.sendall(content)
                connection.shutdown(socket.SHUT_WR)
                with contextlib.suppress(ConnectionResetError):
                    reply = b""
                    while part := connection.recv(1000):
                        reply += part
                    # At most an alert of TLS (RFC 8446, 6): never an answer in the clear.
                    assert reply[:1] in (b"", b"\x15")
        assert ask(server, authority.client()) == 200


def test_under_mutual_tls_only_clients_of_the_authority_are_let_in(tmp_path: Path, authority: Authority) -> None:
    stranger = Authority(tmp_path / "elsewhere", "stranger")
    with secure(tmp_path, *authority.sign("box"), "--tls-client-ca", str(authority.certificate)) as server:
        known = authority.sign("client")
        assert ask(server, authority.client(known)) == 200
        for context in (authority.client(), authority.client(stranger.sign("client"))):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                ask(server, context)
        roots = authority.certificate.read_bytes()
        assert (
            grpc_live(server, grpc.ssl_channel_credentials(roots, known[1].read_bytes(), known[0].read_bytes())) == "OK"
        )
        assert grpc_live(server, grpc.ssl_channel_credentials(roots)) == "UNAVAILABLE"
        assert ask(server, authority.client(known)) == 200


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the probe asks about."""

    version: str
    digest: str
    format: str = "onnx"


def test_the_agent_asks_a_server_that_speaks_tls_and_believes_no_other(tmp_path: Path, authority: Authority) -> None:
    stranger = Authority(tmp_path / "elsewhere", "stranger")
    with secure(tmp_path, *authority.sign("box"), "--tls-client-ca", str(authority.certificate)) as server:
        url = f"https://{server.host}:{server.port}"
        place(tmp_path / "models", "adder", "1.0.0", graphs.adder(0.5))
        release: Any = Wanted("1.0.0", str(Digest.of(graphs.adder(0.5))))

        def probed(authorities: Path, identity: tuple[Path, Path] | None, seconds: float) -> str:
            probe = ServerProbe(url, seconds, authorities=authorities, identity=identity)
            return type(probe.observe("adder", release, lambda: 0.0, lambda: True)).__name__

        agent = authority.sign("agent")
        assert probed(authority.certificate, agent, 30) == "Passed"
        assert probed(authority.certificate, None, 0.3) == "Undecided"
        assert probed(stranger.certificate, agent, 0.3) == "Undecided"
        assert probed(tmp_path / "none", agent, 0.3) == "Undecided"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--serve-ca", "ca.crt"], "--serve-ca"),
        (["--serve-url", "http://127.0.0.1:1", "--serve-ca", "ca.crt"], "--serve-ca"),
        (["--serve-url", "https://127.0.0.1:1", "--serve-key", "k"], "--serve-certificate"),
        (["--serve-url", "https://127.0.0.1:1", "--serve-certificate", "c"], "--serve-key"),
    ],
)
def test_files_of_tls_that_mean_nothing_to_the_agent_are_named(tmp_path: Path, options: list[str], named: str) -> None:
    command = [
        *COMMAND, "agent", "--desired", str(tmp_path), "--model-repository", str(tmp_path), "--state",
        str(tmp_path / "state"), "--device", "d", *options,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert f"{named}: E103" in done.stderr


def replace(source: Path, target: Path) -> None:
    """As tools that renew certificates do."""
    new = target.with_suffix(".new")
    shutil.copy(source, new)
    new.replace(target)


def test_changed_files_are_shown_to_new_connections_and_old_ones_live_on(tmp_path: Path, authority: Authority) -> None:
    """Until certificate and key fit together, what fitted before is shown; authorities of clients change likewise."""
    second = Authority(tmp_path / "second", "second")
    certificate, key, authorities = (tmp_path / name for name in ("tls.crt", "tls.key", "ca.crt"))
    for source, target in zip(
        (*authority.sign("before"), authority.certificate), (certificate, key, authorities), strict=True
    ):
        replace(source, target)
    old = authority.sign("client")
    client = authority.client(old)
    with secure(tmp_path, certificate, key, "--tls-client-ca", str(authorities)) as server:
        standing = http.client.HTTPSConnection(server.host, server.port, timeout=20, context=client)
        standing.request("GET", READY)
        assert standing.getresponse().read()
        kept = standing.sock
        assert shown(server, client) == "before"
        after = authority.sign("after")
        replace(after[0], certificate)
        wait_until(lambda: "shown on" in server.log.read_text())
        assert shown(server, client) == "before"
        replace(after[1], key)
        wait_until(lambda: shown(server, client) == "after")
        replace(second.certificate, authorities)
        identity = second.sign("client")
        newcomer = authority.client(identity)
        wait_until(lambda: _let_in(server, newcomer))
        assert not _let_in(server, client)
        roots, new = authority.certificate.read_bytes(), (identity[1].read_bytes(), identity[0].read_bytes())
        assert grpc_live(server, grpc.ssl_channel_credentials(roots, *new)) == "OK"
        assert grpc_live(server, grpc.ssl_channel_credentials(roots, old[1].read_bytes(), old[0].read_bytes())) != "OK"
        standing.request("GET", READY)
        assert standing.getresponse().status == 200
        assert standing.sock is kept
        standing.close()


def _let_in(server: Server, context: ssl.SSLContext) -> bool:
    try:
        return ask(server, context) == 200
    except (ssl.SSLError, ConnectionError):
        return False


def test_files_that_are_missing_or_do_not_fit_are_named_before_anything_listens(
    tmp_path: Path, authority: Authority
) -> None:
    certificate, key = authority.sign("box")
    other = authority.sign("other")[1]
    nonsense = tmp_path / "nonsense"
    nonsense.write_text("-----BEGIN CERTIFICATE-----\nsecret\n-----BEGIN PRIVATE KEY-----\nsecret\n")
    locked = tmp_path / "locked.key"
    openssl("pkey", "-in", str(key), "-aes256", "-passout", "pass:secret", "-out", str(locked))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    cases = [
        (TlsFiles(tmp_path / "none", key), "--tls-certificate", "No such file"),
        (TlsFiles(pipe, key), "--tls-certificate", "not a regular file"),
        (TlsFiles(key, key), "--tls-certificate", "another content"),
        (TlsFiles(certificate, certificate), "--tls-key", "another content"),
        (TlsFiles(certificate, tmp_path), "--tls-key", "not a regular file"),
        (TlsFiles(certificate, other), "--tls-key", "key values mismatch"),
        (TlsFiles(certificate, locked), "--tls-key", "passphrase"),
        (TlsFiles(nonsense, key), "--tls-key", "--tls-certificate"),
        (TlsFiles(certificate, nonsense), "--tls-key", "--tls-certificate"),
        (TlsFiles(certificate, key, nonsense), "--tls-client-ca", "in PEM"),
        (TlsFiles(certificate, key, key), "--tls-client-ca", "another content"),
    ]
    for files, option, reason in cases:
        with pytest.raises(InputError) as raised:
            Credentials(files)
        [problem] = raised.value.problems
        message = str(raised.value)
        assert (problem.code, problem.field) == ("E103", option), message
        assert reason in message
        assert "secret" not in message


@pytest.mark.parametrize("given", ["--tls-certificate", "--tls-key", "--tls-client-ca"])
def test_an_option_that_lacks_another_is_refused(tmp_path: Path, authority: Authority, given: str) -> None:
    """Above all: authorities of clients without a certificate never mean a server in the clear."""
    arguments = ["serve", "--model-repository", str(tmp_path), "--http-port", "0", given, str(authority.certificate)]
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert "E103" in done.stderr
