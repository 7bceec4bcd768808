"""The bundle that comes with Trimtab: built from ``policies/``, committed, read from the installed package."""

from __future__ import annotations

import errno
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_config.policy.bundle import DATA, MANIFEST, MODULE, MOST_BYTES, PolicyBundle, read_bundle
from trimtab_config.policy.gate import PolicyGate
from trimtab_kernel.problems import InputError, OutsideError, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trimtab_config.policy.interface import Decision, PolicyEngine
    from trimtab_config.policy.signing import Signer, Trust

SHIPPED = Path(__file__).parent / "shipped"
MOST_FILES = 16


@cache
def shipped_bundle() -> PolicyBundle:
    """Raises InputError (F505) where the installation is damaged."""
    return bundle_at(SHIPPED)


def bundle_at(folder: Path, trust: Trust | None = None) -> PolicyBundle:
    """The bundle in a folder. Raises InputError (F505); with ``trust`` also TrustError (F509) where nobody of it signed."""
    return read_bundle(bundle_files(folder, trust), str(folder))


def bundle_files(folder: Path, trust: Trust | None = None) -> dict[str, bytes]:
    """The files of a bundle by name, and where ``trust`` is given every file that is there, signed. Raises as :func:`bundle_at`."""
    try:
        names = {MANIFEST, MODULE, DATA} if trust is None else {path.name for path in folder.iterdir()}
        if len(names) > MOST_FILES:
            raise InputError(Problem("F505", str(folder), got=f"{len(names)} files", expected=f"at most {MOST_FILES}"))
        files = {name: _limited(folder / name) for name in sorted(names)}
    except OSError as error:
        expected = "a folder with manifest.json, policy.wasm and data.json"
        problem = Problem("F505", str(folder), got=error.strerror or str(error), expected=expected)
        raise InputError(problem) from error
    if trust is not None:
        from trimtab_config.policy.signing import check_signatures

        check_signatures(files, trust, str(folder))
    return files


def _limited(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MOST_BYTES + 1)  # what is longer is refused by its length


def write_bundle(bundle: PolicyBundle, folder: Path, signer: Signer | None = None) -> None:
    """Put the files of ``bundle`` where ``folder`` is, as a whole: readers find the old ones or the new ones.

    With ``signer`` they are signed. Raises OSError, also for a folder that holds anything but a bundle.
    """
    files = bundle.files()
    strangers = {path.name for path in folder.iterdir()} - {*files, ".signatures.json"} if folder.exists() else set()
    if strangers:
        raise FileExistsError(errno.ENOTEMPTY, f"it holds {sorted(strangers)[0]}, which is no part of a bundle")
    if signer is not None:
        from trimtab_config.policy.signing import SIGNATURES, signatures_of

        files[SIGNATURES] = signatures_of(files, signer)
    from trimtab_config.policy.replacing import replace_folder

    replace_folder(folder, files)


def gate_of_bundle(bundle: PolicyBundle) -> PolicyGate:
    """A gate over one bundle alone."""
    return PolicyGate((WasmEngine(bundle),), bundle.rules)


def try_bundle(bundle: PolicyBundle) -> None:
    """Raises InputError (F505, F506) for a bundle that does not run, or that lets an empty question pass."""
    (decision,) = WasmEngine(bundle).decide([b"{}"])
    if decision.allowed:
        problem = Problem("F506", got="rules that allow an empty input", expected="a refusal: it lacks everything")
        raise InputError(problem)


class WasmEngine:
    """A PolicyEngine over ``bundle`` that loads wasmtime with the first question: most commands ask none.

    Where wasmtime is not installed the opa program judges by ``rego``, the folder that the bundle was built from, if that
    still holds the same rules.
    """

    def __init__(self, bundle: PolicyBundle, rego: Path | None = None) -> None:
        self._bundle = bundle
        self._rego = rego
        self._engine: PolicyEngine | None = None

    @property
    def digest(self) -> str:
        """As PolicyEngine says."""
        return self._bundle.digest

    def decide(self, requests: Sequence[bytes]) -> Sequence[Decision]:
        """As PolicyEngine says. Raises InputError (F505) for a bundle that cannot be run, OutsideError without an engine."""
        if self._engine is None:
            self._engine = self._made()
        return self._engine.decide(requests)

    def _made(self) -> PolicyEngine:
        from trimtab_config.policy.wasm import WasmPolicyEngine

        try:
            return WasmPolicyEngine(self._bundle)
        except ModuleNotFoundError as error:
            if error.name != "wasmtime":
                raise
        from trimtab_config.policy.opa_binary import CORE, Opa, OpaPolicyEngine, digests_of

        if self._rego is None or digests_of([CORE, self._rego]) != self._bundle.sources:
            raise OutsideError(
                "policies are judged by the package 'wasmtime', which is not installed: pip install wasmtime"
            )
        return OpaPolicyEngine(Opa.found(), [self._rego])


def gate_of(*bundles: PolicyBundle) -> PolicyGate:
    """A gate of its own (one thread at a time) over what is shipped and ``bundles`` beside it."""
    every = (shipped_bundle(), *bundles)
    rules = {name: rule for bundle in reversed(every) for name, rule in bundle.rules.items()}
    engines = (WasmEngine(shipped_bundle(), _rego()), *(WasmEngine(bundle) for bundle in bundles))
    return PolicyGate(engines, rules)


def _rego() -> Path | None:
    """The Rego of the shipped bundle, which a checkout has."""
    place = SHIPPED.parents[3] / "policies"
    return place if place.is_dir() else None
