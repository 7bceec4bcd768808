"""Container images of the lab: a base made of this very Python, images built by buildah on it, containers run by runc.

No registry is asked. Storage lies in the lab's folder, in the vfs form, which needs no file system of its own.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from tests.lab.processes import system_program

ROOT = Path(__file__).parents[2]
BASE = "localhost/lab-python"
_BUILD_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Images:
    """buildah over storage of its own."""

    directory: Path

    def buildah(self, *arguments: str | Path) -> str:
        """What one command prints; a failure fails the test with its last words."""
        storage = ("--storage-driver", "vfs", "--root", self.directory / "storage", "--runroot", self.directory / "run")
        command = [system_program("buildah"), *map(str, (*storage, *arguments))]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_BUILD_SECONDS, check=False, cwd=ROOT)
        assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
        return done.stdout.strip()

    def build_base(self) -> None:
        """An image with this Python, its libraries and a shell, at the places where they lie here."""
        root = self.directory / "python"
        make_python_root(root)
        container = self.buildah("from", "scratch")
        self.buildah("copy", "--quiet", container, root, "/")
        self.buildah("commit", "--quiet", "--rm", container, BASE)
        shutil.rmtree(root)

    def build(self, containerfile: Path, tag: str, wheels: Path) -> None:
        """An image of the tree, its packages from a folder of wheels."""
        settings = {"BASE": BASE, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels"}
        options = [part for key, value in settings.items() for part in ("--build-arg", f"{key}={value}")]
        places = ("--isolation", "chroot", "--volume", f"{wheels}:/wheels:ro", "--file", containerfile, "--tag", tag)
        self.buildah("bud", "--quiet", *places, *options, ROOT)

    def close(self) -> None:
        """Remove the containers, which gives back what was mounted."""
        self.buildah("rm", "--all")

    def bundle(self, tag: str, directory: Path) -> Path:
        """A folder that runc can run: the image's files, its user, environment and entry point, and no rights at all."""
        container = self.buildah("from", "--pull-never", tag)
        settings = json.loads(self.buildah("inspect", "--type", "container", container))["OCIv1"]["config"]
        directory.mkdir()
        (directory / "config.json").write_text(json.dumps(_specification(self.buildah("mount", container), settings)))
        return directory


def run_container(bundle: Path, name: str, given: bytes) -> subprocess.CompletedProcess[bytes]:
    """Run it once: stdin to stdout."""
    command = [system_program("runc"), "--root", str(bundle.parent / "runc"), "run", "--bundle", str(bundle), name]
    return subprocess.run(command, input=given, capture_output=True, timeout=300, check=False)


def make_wheels(directory: Path) -> Path:
    """What the image's lock names, and the build backend, fetched by pip with the hashes checked."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--dest", str(directory)]
    lock = ["--require-hashes", "--only-binary", ":all:", "-r", str(ROOT / "requirements/config.txt")]
    for wanted in (lock, ["hatchling>=1.27", "editables>=0.5"]):
        done = subprocess.run([*pip, *wanted], capture_output=True, text=True, timeout=_BUILD_SECONDS, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
    return directory


def make_python_root(root: Path) -> None:
    """Copy this Python's home, the shared libraries that it and its modules name, and ``/bin/sh``, into ``root``."""
    home = Path(sys.base_prefix)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    left_out = shutil.ignore_patterns(
        "__pycache__", "test", "tests", "site-packages", "idlelib", "tkinter", "turtledemo", "config-*"
    )
    library = Path(str(sysconfig.get_path("stdlib")))
    shutil.copytree(library, root / library.relative_to("/"), ignore=left_out, symlinks=True)
    (root / library.relative_to("/") / "site-packages").mkdir()
    binary = Path(sys.base_prefix) / "bin" / version
    programs = [binary.resolve(), Path("/bin/sh").resolve()]
    programs += sorted((library / "lib-dynload").glob("*.so"))
    for program in [*programs[:2], *_libraries(programs)]:
        _place(root, program)
    for name, target in (("bin/sh", programs[1]), ("usr/local/bin/python3", programs[0])):
        link = root / name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(target)
    for folder in ("tmp", "proc", "dev", "etc"):
        (root / folder).mkdir(exist_ok=True)
    (root / "tmp").chmod(0o1777)
    # Whoever runs in the image reads these, also where they lie below the home of root here.
    for above in (home, *home.parents):
        place = root / above.relative_to("/")
        if place.is_dir():
            place.chmod(0o755)


def _libraries(programs: list[Path]) -> set[Path]:
    """Shared libraries, by the names under which the loader looks for them; besides, those that wheels count on."""
    found: set[Path] = set()
    said = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, timeout=60, check=False).stdout
    for word in said.split():
        if word.startswith("/") and not word.endswith(":") and ".so" in word:
            found.add(Path(word))
    beside = next(path.parent for path in found if path.name.startswith("libc.so"))
    wanted = ("libgcc_s.so.1", "librt.so.1", "libdl.so.2", "libpthread.so.0", "libm.so.6", "libutil.so.1")
    return found | {beside / name for name in wanted if (beside / name).exists()}


def _place(root: Path, path: Path) -> None:
    place = root / path.relative_to("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.exists():
        shutil.copy2(path, place, follow_symlinks=True)


def _specification(files: str, settings: dict[str, list[str]]) -> dict[str, object]:
    user = [int(part) for part in str(settings["User"]).split(":")]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "args": settings["Entrypoint"],
            "env": settings["Env"],
            "cwd": "/tmp",
            "user": {"uid": user[0], "gid": user[1]},
            "noNewPrivileges": True,
            "capabilities": {"bounding": [], "effective": [], "permitted": []},
        },
        "root": {"path": files, "readonly": True},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]},
        ],
        # A network of its own, in which there is nothing.
        "linux": {"namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "network")]},
    }
