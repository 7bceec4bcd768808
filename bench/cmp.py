"""What a render of one group costs inside Argo CD's plugin protocol: native, in exec mode, and `helm template` beside it.

Every call sends a tree that differs in one file from all before it, in 64 KiB parts, over a Unix socket, to the native server
and to Argo CD's own argocd-cmp-server running the same plugin.yaml; Helm gets a chart of the same objects. The figure that
counts is the render share: from the last byte in to the response. What the caller takes to pack the tree is shown apart.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles

import grpc
import yaml
from google.protobuf.empty_pb2 import Empty

from bench.fleets import fleet_files, group_file, group_name
from trimtab_plugins.argocd import config_management_plugin_pb2 as pb

ROOT = Path(__file__).resolve().parents[1]
_CONFIG = ROOT / "plugins/argocd"
_BINARIES = Path(sys.executable).parent
_SERVICE = "/plugin.ConfigManagementPluginService/"
_CHUNK = 64 * 1024
_BUDGET = 10.0
_TIMES_HELM = "helm template"


@dataclass(slots=True)
class Figures:
    """Seconds of one way, one entry a call."""

    share: list[float] = field(default_factory=list)
    sending: list[float] = field(default_factory=list)

    def percentile(self, percent: int) -> float:
        """The percentile of the render share."""
        return quantiles(self.share, n=100, method="inclusive")[percent - 1]


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="bench cmp", description=__doc__)
    made.add_argument("--files", type=int, nargs="+", default=[12, 500, 3000], help="files of the tree")
    made.add_argument("--calls", type=int, default=20, help="calls of each way, interleaved")
    made.add_argument(
        "--argocd", type=Path, help="the argocd binary (default: that of tools/lab; without one, no exec mode)"
    )
    made.add_argument("--helm", type=Path, help="the helm binary (default: that of tools/lab; without one, no Helm)")
    return made


def main() -> int:
    """Measure and print a table. 1 where a budget is missed."""
    options = parser().parse_args()
    argocd, helm = _found("argocd", options.argocd), _found("helm", options.helm)
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start")
    print(f"{options.calls} calls of each way, interleaved; a call's tree differs in one file from all earlier ones;")
    print("milliseconds from the last byte in to the response (Helm: the whole command, its chart on disk already)\n")
    print(
        f"{'files':>6} {'way':<16} {'p50':>9} {'p95':>9} {'against native':>15}   {'sending p50':>11} {'packing p50':>11}"
    )
    missed = False
    for files in options.files:
        with tempfile.TemporaryDirectory(prefix="tt-cmp-") as name:
            missed |= _size(Path(name), files, options.calls, argocd, helm)
    return int(missed)


def _found(name: str, given: Path | None) -> Path | None:
    if given is None:
        found = subprocess.run([ROOT / "tools/lab", "path", name], capture_output=True, text=True, check=False)
        given = Path(found.stdout.strip() or "/nonexistent")
    if not given.is_file():
        print(f"bench: no {name} (tools/lab build {name}): left out", file=sys.stderr)
        return None
    return given


def _tree(files: int) -> dict[str, bytes]:
    """A fleet, and beside it files of other owners, as in a repository that several teams share; ``files`` together."""
    groups = 4 if files < 100 else 40
    fleet = fleet_files(groups, 5)
    if files < len(fleet):  # the smallest: one group, a model and its deployment, policies and prices
        wanted = [name for name in fleet if not name.startswith(("groups/", "models/", "deployments/"))]
        wanted += [f"groups/{group_name(place)}.yaml" for place in range(3)]
        wanted += ["models/model-00.yaml", "models/model-01.yaml", "models/model-02.yaml"]
        wanted += ["deployments/model-00.yaml", "deployments/model-01.yaml", "deployments/model-02.yaml"]
        fleet = {name: fleet[name] for name in sorted(wanted)[:files]}
    tree = {f"fleet/{name}": content for name, content in fleet.items()}
    for place in range(files - len(tree)):
        text = (
            f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c{place}}}\ndata:\n" + f"  line: {place * 7919}\n" * 40
        )
        tree[f"teams/t{place % 50}/manifest-{place}.yaml"] = text.encode()
    return tree


def _packed(tree: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        folders = {"/".join(name.split("/")[:depth]) for name in tree for depth in range(1, name.count("/") + 1)}
        for name in sorted({*folders, *tree}):
            info = tarfile.TarInfo(name)
            if name in tree:
                info.size = len(tree[name])
                archive.addfile(info, io.BytesIO(tree[name]))
            else:
                info.type = tarfile.DIRTYPE
                archive.addfile(info)
    return gzip.compress(buffer.getvalue(), compresslevel=6, mtime=0)


class _Plugin:
    """A plugin behind a socket, called as repo-server calls it."""

    def __init__(self, socket: Path) -> None:
        options = (("grpc.max_receive_message_length", 100 * 1024 * 1024), ("grpc.use_local_subchannel_pool", 1))
        self._channel = grpc.insecure_channel(f"unix:{socket}", options=options)
        empty, answer = Empty.SerializeToString, pb.CheckPluginConfigurationResponse.FromString
        self._channel.unary_unary(f"{_SERVICE}CheckPluginConfiguration", empty, answer)(
            Empty(), timeout=60, wait_for_ready=True
        )
        self._call = self._channel.stream_unary(
            f"{_SERVICE}GenerateManifest", pb.AppStreamRequest.SerializeToString, pb.ManifestResponse.FromString
        )

    def generate(self, archive: bytes, group: str, figures: Figures) -> list[str]:
        last = begin = time.perf_counter()

        def messages() -> Iterator[pb.AppStreamRequest]:
            nonlocal last
            env = [pb.EnvEntry(name="ARGOCD_APP_PARAMETERS", value=json.dumps([{"name": "group", "string": group}]))]
            checksum = hashlib.sha256(archive).hexdigest()
            yield pb.AppStreamRequest(
                metadata=pb.ManifestRequestMetadata(
                    appName="fleet", appRelPath="fleet", checksum=checksum, size=len(archive), env=env
                )
            )
            for start in range(0, len(archive), _CHUNK):
                yield pb.AppStreamRequest(file=pb.File(chunk=archive[start : start + _CHUNK]))
            last = time.perf_counter()

        answer = self._call(messages(), timeout=120)
        figures.share.append(time.perf_counter() - last)
        figures.sending.append(last - begin)
        return list(answer.manifests)

    def close(self) -> None:
        self._channel.close()


@contextmanager
def _serving(command: list[str], socket: Path, env: dict[str, str]) -> Iterator[_Plugin]:
    with (socket.parent / "log").open("wb") as log:
        process = subprocess.Popen(command, env=os.environ | env, stdout=log, stderr=log)
        try:
            for _ in range(600):
                if socket.exists() or process.poll() is not None:
                    break
                time.sleep(0.1)
            plugin = _Plugin(socket)
            yield plugin
            plugin.close()
        finally:
            process.kill()
            process.wait()


def _chart(folder: Path, manifests: list[str]) -> None:
    """A chart of the same objects; what changes from call to call is a value, as people write charts."""
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text("apiVersion: v2\nname: fleet\nversion: 0.1.0\n")
    for place, text in enumerate(manifests):
        document = yaml.safe_load(text)
        shown = yaml.safe_dump(document).replace("{{", "{{ `{{` }}")
        (folder / f"templates/object-{place}.yaml").write_text(f"# {{{{ .Values.change }}}}\n{shown}")


def _helm(helm: Path, chart: Path, number: int, figures: Figures) -> None:
    (chart / "values.yaml").write_text(f"change: {number}\n")
    begin = time.perf_counter()
    done = subprocess.run([helm, "template", "fleet", chart], capture_output=True, check=False)
    figures.share.append(time.perf_counter() - begin)
    if done.returncode:
        sys.exit(f"bench: helm template failed: {done.stderr.decode(errors='replace')}")


def _size(work: Path, files: int, calls: int, argocd: Path | None, helm: Path | None) -> bool:
    tree = _tree(files)
    group = group_name(0)
    packing: list[float] = []
    ways: dict[str, Figures] = {"native": Figures()}
    with ExitStack() as stack:
        native_dir, stock_dir = work / "native", work / "stock"
        native_dir.mkdir()
        stock_dir.mkdir()
        command = [
            str(_BINARIES / "trimtab"),
            "cmp-server",
            "--config-dir",
            str(_CONFIG),
            "--socket-dir",
            str(native_dir),
        ]
        native = stack.enter_context(_serving(command, native_dir / "trimtab.sock", {}))
        stock = None
        if argocd is not None:
            ways["exec"] = Figures()
            env = {
                "PATH": f"{_BINARIES}:{os.environ['PATH']}",
                "ARGOCD_BINARY_NAME": "argocd-cmp-server",
                "ARGOCD_PLUGINSOCKFILEPATH": str(stock_dir),
                "ARGOCD_CMP_WORKDIR": str(stock_dir / "work"),
            }
            command = [str(argocd), "--config-dir-path", str(_CONFIG)]
            stock = stack.enter_context(_serving(command, stock_dir / "trimtab.sock", env))
        if helm is not None:
            ways[_TIMES_HELM] = Figures()
        for number in range(calls + 1):
            name, content = group_file(1, devices=10 + number)
            tree[f"fleet/{name}"] = content
            begin = time.perf_counter()
            archive = _packed(tree)
            packing.append(time.perf_counter() - begin)
            manifests = native.generate(archive, group, ways["native"])
            if stock is not None:
                others = stock.generate(archive, group, ways["exec"])
                if [json.loads(text) for text in manifests] != [yaml.safe_load(text) for text in others]:
                    sys.exit("bench: native and exec mode give different objects")
            if helm is not None:
                if not number:
                    shutil.rmtree(work / "chart", ignore_errors=True)
                    _chart(work / "chart", manifests)
                _helm(helm, work / "chart", number, ways[_TIMES_HELM])
    return _told(files, ways, packing)


def _told(files: int, ways: dict[str, Figures], packing: list[float]) -> bool:
    base = ways["native"]
    for figures in ways.values():  # the first call of each finds nothing warm
        del figures.share[0], figures.sending[:1]
    missed = False
    for way, figures in ways.items():
        times = figures.percentile(50) / base.percentile(50)
        told = "" if way == "native" else f"{times:.1f} x"
        if way != "native" and times < _BUDGET:
            told, missed = f"{told} MISSED", True
        sending = f"{1000 * sorted(figures.sending)[len(figures.sending) // 2]:.1f}" if figures.sending else "-"
        packed = f"{1000 * sorted(packing)[len(packing) // 2]:.1f}" if way == "native" else ""
        p50, p95 = 1000 * figures.percentile(50), 1000 * figures.percentile(95)
        print(f"{files:>6} {way:<16} {p50:>9.2f} {p95:>9.2f} {told:>15}   {sending:>11} {packed:>11}", flush=True)
    return missed


if __name__ == "__main__":
    sys.exit(main())
