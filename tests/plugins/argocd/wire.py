"""A caller as repo-server is one, and servers to call: real processes, real sockets, archives made here."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty

from trimtab_plugins.argocd import config_management_plugin_pb2 as pb

__all__ = [
    "Caller",
    "Server",
    "chunks",
    "fleet_files",
    "metadata",
    "parameters",
    "pb",
    "request",
    "serving",
    "tar",
    "tgz",
]

ROOT = Path(__file__).parents[3]
CONFIG = ROOT / "plugins/argocd"
FLEET = ROOT / "examples/fleet"
SERVICE = "/plugin.ConfigManagementPluginService/"
# As repo-server's client: pings every 20 s, whether there are calls or not, here faster.
PINGS = (
    ("grpc.keepalive_time_ms", 5000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", 100 * 1024 * 1024),
    # Every channel a connection of its own, as a fresh dial is.
    ("grpc.use_local_subchannel_pool", 1),
)


def fleet_files(folder: Path = FLEET, prefix: str = "") -> dict[str, bytes]:
    """The files of a folder on disk, by path below ``prefix``."""
    return {
        f"{prefix}{path.relative_to(folder).as_posix()}": path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def tar(files: Mapping[str, bytes], *, form: int = tarfile.USTAR_FORMAT) -> bytes:
    """An archive of plain files and their folders, with the root entry, as repo-server packs one."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        folders = {"."} | {
            "/".join(name.split("/")[:depth]) for name in files for depth in range(1, name.count("/") + 1)
        }
        for name in sorted({*folders, *files}):
            info = tarfile.TarInfo(name)
            if name in files:
                info.size = len(files[name])
                archive.addfile(info, io.BytesIO(files[name]))
            else:
                info.type = tarfile.DIRTYPE
                archive.addfile(info)
    return buffer.getvalue()


def tgz(files: Mapping[str, bytes]) -> bytes:
    return gzip.compress(tar(files), compresslevel=1, mtime=0)


def parameters(**values: object) -> str:
    """ARGOCD_APP_PARAMETERS as repo-server writes it."""
    return json.dumps([{"name": name.replace("_", "-"), "string": value} for name, value in values.items()])


def metadata(
    archive: bytes, path: str = ".", env: Mapping[str, str] | None = None, **other: object
) -> pb.AppStreamRequest:
    """The first message. ``other`` replaces fields."""
    fields: dict[str, Any] = {
        "appName": path.rsplit("/", 1)[-1],
        "appRelPath": path,
        "checksum": hashlib.sha256(archive).hexdigest(),
        "size": len(archive),
        "env": [pb.EnvEntry(name=name, value=value) for name, value in (env or {}).items()],
    }
    return pb.AppStreamRequest(metadata=pb.ManifestRequestMetadata(**(fields | other)))


def chunks(archive: bytes, size: int) -> Iterator[pb.AppStreamRequest]:
    for start in range(0, len(archive), size):
        yield pb.AppStreamRequest(file=pb.File(chunk=archive[start : start + size]))


def request(
    archive: bytes,
    path: str = ".",
    env: Mapping[str, str] | None = None,
    *,
    chunk: int = 64 * 1024,
    group: str = "kiosk-emea",
    **other: object,
) -> Iterator[pb.AppStreamRequest]:
    """All messages of one call."""
    whole = {"ARGOCD_APP_PARAMETERS": parameters(group=group), "ARGOCD_APP_NAME": "app"} | dict(env or {})
    yield metadata(archive, path, whole, **other)
    yield from chunks(archive, chunk)


def _written(message: pb.AppStreamRequest | bytes) -> bytes:
    """Bytes go as they are: what is no message must be possible."""
    return message if isinstance(message, bytes) else message.SerializeToString()


class Caller:
    """One connection to a socket."""

    def __init__(self, socket: Path) -> None:
        self.channel = grpc.insecure_channel(f"unix:{socket}", options=PINGS)
        self._empty = self.channel.unary_unary(
            f"{SERVICE}CheckPluginConfiguration",
            Empty.SerializeToString,
            pb.CheckPluginConfigurationResponse.FromString,
        )
        self.generate_call = self._stream("GenerateManifest", pb.ManifestResponse)
        self._match = self._stream("MatchRepository", pb.RepositoryResponse)
        self._announce = self._stream("GetParametersAnnouncement", pb.ParametersAnnouncementResponse)

    def _stream(self, name: str, answer: Any) -> Any:  # noqa: ANN401 - one of three messages
        return self.channel.stream_unary(f"{SERVICE}{name}", _written, answer.FromString)

    def check(self, timeout: float = 30) -> pb.CheckPluginConfigurationResponse:
        answer: pb.CheckPluginConfigurationResponse = self._empty(Empty(), timeout=timeout, wait_for_ready=True)
        return answer

    def generate(self, messages: Iterable[pb.AppStreamRequest | bytes], timeout: float = 60) -> list[str]:
        return list(self.generate_call(iter(messages), timeout=timeout, wait_for_ready=True).manifests)

    def match(self, messages: Iterable[pb.AppStreamRequest]) -> pb.RepositoryResponse:
        answer: pb.RepositoryResponse = self._match(iter(messages), timeout=60, wait_for_ready=True)
        return answer

    def announce(self, messages: Iterable[pb.AppStreamRequest]) -> list[pb.ParameterAnnouncement]:
        return list(self._announce(iter(messages), timeout=60, wait_for_ready=True).parameterAnnouncements)

    def refusal(
        self, messages: Iterable[pb.AppStreamRequest | bytes], timeout: float = 60
    ) -> tuple[grpc.StatusCode, str]:
        """Status and text of a call that must fail."""
        try:
            manifests = self.generate(messages, timeout)
        except grpc.RpcError as error:
            return error.code(), error.details() or ""
        raise AssertionError(f"answered with {len(manifests)} manifests")

    def close(self) -> None:
        self.channel.close()

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass
class Server:
    """A server process and what it logged."""

    process: subprocess.Popen[bytes]
    socket: Path
    metrics_port: int = 0
    lines: list[str] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    ended: bool = False

    def read(self) -> None:
        """Follow stderr until it ends."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self.changed:
                self.lines.append(line.decode(errors="replace").rstrip("\n"))
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def wait_line(self, start: str, timeout: float = 60) -> str:
        """The first line that begins so."""

        def found() -> str | None:
            return next((line for line in self.lines if line.startswith(start)), None)

        with self.changed:
            self.changed.wait_for(lambda: found() or self.ended, timeout)
            line = found()
        assert line is not None, "\n".join(["the server said:", *self.lines])
        return line

    def peak_rss(self) -> int:
        """The most memory that the process had resident so far, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024

    def caller(self) -> Caller:
        return Caller(self.socket)


@contextmanager
def serving(folder: Path, *options: str, program: Iterable[str] | None = None) -> Iterator[Server]:
    """A server on a socket in ``folder``, ready; ended by SIGTERM. ``program`` is run instead of `trimtab cmp-server`."""
    folder.mkdir(parents=True, exist_ok=True)
    command = list(program or ())
    if program is None:
        command = [str(Path(sys.executable).parent / "trimtab"), "cmp-server", "--config-dir", str(CONFIG)]
        command += ["--socket-dir", str(folder), "--metrics-port", "0", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, cwd=folder, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    server = Server(process, folder / "trimtab.sock")
    reader = threading.Thread(target=server.read)
    reader.start()
    try:
        line = server.wait_line("serving ")
        said = dict(part.partition("=")[::2] for part in line.split()[1:])
        server.metrics_port = int(said.get("metrics_port", "0"))
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        reader.join(10)
        assert process.stderr is not None
        process.stderr.close()
