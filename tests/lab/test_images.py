"""The images of the charts: built by buildah on a base of this very Python, run by runc without rights."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.images import BASE, ROOT, Images, run_container

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]  # two images are built first

LOCKS = {"trimtab": ("plugins", "bot"), "trimtab-edge": ("edge-grpc",)}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Images]:
    """Both images, built once."""
    directory = tmp_path_factory.mktemp("images")
    wheels = directory / "wheels"
    wheels.mkdir()
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--dest", str(wheels)]
    for names in LOCKS.values():
        locks = [part for name in names for part in ("-r", str(ROOT / f"requirements/{name}.txt"))]
        subprocess.run([*pip, "--require-hashes", "--only-binary", ":all:", *locks], check=True, timeout=600)
    subprocess.run([*pip, "hatchling>=1.27"], check=True, timeout=600)
    made = Images(directory)
    made.build_base()
    for name in LOCKS:
        # The base has neither apt nor git: what needs git is tried elsewhere.
        settings = {"BASE": BASE, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels"}
        settings |= {"PACKAGES": ""} if name == "trimtab" else {}
        options = [part for key, value in settings.items() for part in ("--build-arg", f"{key}={value}")]
        places = ("--isolation", "chroot", "--volume", f"{wheels}:/wheels:ro")
        file = ROOT / "helm/images" / f"{name}.Containerfile"
        made.buildah("bud", "--quiet", *places, *options, "--file", file, "--tag", f"localhost/{name}", ROOT)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(directory, ignore_errors=True)  # some gigabytes


def run(images: Images, name: str, place: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    bundle = images.bundle(f"localhost/{name}", place)
    config = json.loads((bundle / "config.json").read_text("utf-8"))
    config["process"]["args"] += arguments
    assert config["process"]["user"] == {"uid": 65532, "gid": 65532}
    (bundle / "config.json").write_text(json.dumps(config), "utf-8")
    return run_container(bundle, f"{name}-{place.name}", b"")


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("trimtab", ["--version"], b"trimtab 0."),
        ("trimtab", ["--help"], b"fleet-service"),
        ("trimtab", ["fleet-service", "--help"], b"--token-file"),
        ("trimtab", ["flux-controller", "--print-crd"], b"kind: CustomResourceDefinition"),
        ("trimtab", ["cmp-server", "--help"], b"--socket-dir"),
        ("trimtab", ["bot", "run", "--help"], b"--config"),
        ("trimtab-edge", ["--help"], b"serve"),
        ("trimtab-edge", ["serve", "--help"], b"--model-repository"),
        ("trimtab-edge", ["agent", "--help"], b"--desired"),
    ],
)
def test_an_image_runs_its_commands_without_rights(
    images: Images, tmp_path: Path, name: str, arguments: list[str], says: bytes
) -> None:
    """As user 65532, with no capability, on a root that cannot be written."""
    done = run(images, name, tmp_path / "bundle", *arguments)
    assert done.returncode == 0, done.stderr[-2000:]
    assert says in done.stdout
    assert b"which is not installed" not in done.stdout
