"""The bundle that comes with Trimtab: built from ``policies/``, committed, read from the installed package."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_config.policy.bundle import DATA, MANIFEST, MODULE, PolicyBundle, read_bundle
from trimtab_config.policy.gate import PolicyGate
from trimtab_kernel.problems import InputError, OutsideError, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trimtab_config.policy.interface import Decision, PolicyEngine

SHIPPED = Path(__file__).parent / "shipped"


@cache
def shipped_bundle() -> PolicyBundle:
    """Raises InputError (F505) where the installation is damaged."""
    return bundle_at(SHIPPED)


def bundle_at(folder: Path) -> PolicyBundle:
    """The bundle in a folder. Raises InputError (F505)."""
    try:
        files = {name: (folder / name).read_bytes() for name in (MANIFEST, MODULE, DATA)}
    except OSError as error:
        expected = "a folder with manifest.json, policy.wasm and data.json"
        problem = Problem("F505", str(folder), got=error.strerror or str(error), expected=expected)
        raise InputError(problem) from error
    return read_bundle(files, str(folder))


def write_bundle(bundle: PolicyBundle, folder: Path) -> None:
    """Write the files of ``bundle`` into ``folder``, which is made. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in bundle.files().items():
        (folder / name).write_bytes(content)


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
        try:
            from trimtab_config.policy.wasm import WasmPolicyEngine
        except ModuleNotFoundError as error:
            if error.name != "wasmtime":
                raise
        else:
            return WasmPolicyEngine(self._bundle)
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
