"""From the files of a fleet's folder and a wish to manifests, with what earlier calls have in common kept."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from trimtab_config.compilation import FleetCompiler, Monitoring, RenderOptions
from trimtab_config.compilation.fleet import placed
from trimtab_kernel.problems import InputError, Problem, quoted
from trimtab_plugins.argocd.progress import WatchedFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trimtab_config.compilation import CompiledFleet, RenderedGroup
    from trimtab_plugins.argocd.checkout import FleetFiles
    from trimtab_plugins.argocd.parameters import Wish
    from trimtab_plugins.argocd.progress import Progress

MAX_ANSWER_BYTES = 100 * 1024 * 1024  # what repo-server takes unless told otherwise
_EMPTY_GROUP = b"""
apiVersion: apexlogic.ai/v1
kind: DeviceGroup
metadata: {name: warm, namespace: warm}
spec:
  cluster: warm
  deviceCount: 1
  hardware: {class: box, arch: amd64, cpu: "1", memory: 1Gi}
  network: {priceClass: wired}
  jurisdiction: EU
  owner: {team: warm}
"""
_KEPT_FLEETS = 8
_KEPT_BYTES = 8 * 1024 * 1024  # of the files that kept fleets were read from; in memory a fleet is many times its files


@dataclass(frozen=True, slots=True)
class Rendered:
    """The canonical JSON of every object, in the order of the compiler; ``cached`` if the fleet was open already."""

    manifests: tuple[str, ...]
    cached: bool


class Renderer(Protocol):
    """What the service asks. Called from several threads at once."""

    def render(self, fleet: FleetFiles, wish: Wish, folder: str, progress: Progress) -> Rendered:
        """The manifests of a group, never none. ``folder`` is how messages name the fleet's folder.

        Raises InputError with all problems of the files, of references and of compiling.
        """
        ...


class FleetRenderer:
    """Renders with one :class:`~trimtab_config.compilation.FleetCompiler`, which stays warm.

    Fleets are kept by their content, least recently used ones leave: the Applications of one repository, each of them
    another group, come at the same commit one after another.
    """

    def __init__(self, monitoring: Monitoring = Monitoring.ANNOTATIONS) -> None:
        self._monitoring = monitoring
        self._compiler = FleetCompiler()
        self._lock = threading.Lock()
        self._opening: dict[bytes, threading.Event] = {}
        self._fleets: OrderedDict[bytes, tuple[CompiledFleet | InputError, int]] = OrderedDict()

    def warm(self) -> None:
        """Compile a fleet of one empty group, so that the first call finds everything loaded."""
        self._compiler.open({"group.yaml": _EMPTY_GROUP}).render("warm")

    def render(self, fleet: FleetFiles, wish: Wish, folder: str, progress: Progress) -> Rendered:
        """See :class:`Renderer`."""
        cached = False

        def opened(files: Mapping[str, bytes]) -> CompiledFleet:
            nonlocal cached
            progress.enter("read")
            compiled, cached = self._open(files, wish, folder, progress)
            progress.enter("render")
            return compiled

        manifests = compile_group(fleet, wish, folder, opened).manifests
        if (size := sum(map(len, manifests))) > MAX_ANSWER_BYTES:
            raise InputError(Problem("A118", got=f"{size} characters", expected=f"at most {MAX_ANSWER_BYTES}"))
        return Rendered(manifests, cached)

    def _open(
        self, files: Mapping[str, bytes], wish: Wish, folder: str, progress: Progress
    ) -> tuple[CompiledFleet, bool]:
        key = _digest(files, wish.price_book or "", folder)
        done = threading.Event()
        while True:
            with self._lock:
                kept = self._fleets.get(key)
                if kept is not None:
                    self._fleets.move_to_end(key)
                    if isinstance(kept[0], InputError):
                        raise InputError(*kept[0].problems)
                    return kept[0], True
                opening = self._opening.get(key)
                if opening is None:
                    self._opening[key] = done
                    break
            # Another call opens this very fleet; where it is called off, this one does it.
            progress.enter("wait")
            opening.wait()
            progress.enter("read")
        try:
            options = RenderOptions(price_book=wish.price_book, monitoring=self._monitoring)
            compiled = self._compiler.open(WatchedFiles(files, progress), folder, options)
        except InputError as error:
            self._keep(key, InputError(*error.problems), files)
            raise
        else:
            self._keep(key, compiled, files)
            return compiled, False
        finally:
            with self._lock:
                del self._opening[key]
            done.set()

    def _keep(self, key: bytes, outcome: CompiledFleet | InputError, files: Mapping[str, bytes]) -> None:
        size = sum(map(len, files.values()))
        if size > _KEPT_BYTES:
            return
        with self._lock:
            self._fleets[key] = (outcome, size)
            while len(self._fleets) > _KEPT_FLEETS or sum(each for _, each in self._fleets.values()) > _KEPT_BYTES:
                self._fleets.popitem(last=False)


def compile_group(
    fleet: FleetFiles, wish: Wish, folder: str, opened: Callable[[Mapping[str, bytes]], CompiledFleet]
) -> RenderedGroup:
    """The one group of a fleet that ``opened`` opens. ``folder`` is where messages say that its files lie.

    Raises InputError: what kept files from being read, A116 for no manifests or no objects, and what compiling finds.
    """
    if fleet.problems:
        raise InputError(*placed(fleet.problems, folder))
    if not fleet.files:
        got, expected = f"no manifest below {quoted(folder or '.')}", "a fleet with the group"
        raise InputError(Problem("A116", got=got, expected=expected))
    rendered = opened(fleet.files).render(wish.group)
    if not rendered.objects:
        raise InputError(Problem("A116", got=f"no object of group {quoted(wish.group)}", expected="at least one"))
    return rendered


def _digest(files: Mapping[str, bytes], *others: str) -> bytes:
    whole = hashlib.sha256("\0".join(others).encode())
    for name, content in files.items():
        whole.update(f"\0{name}\0{len(content)}\0".encode("utf-8", "surrogateescape"))
        whole.update(content)
    return whole.digest()
