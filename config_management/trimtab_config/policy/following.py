"""Bundles of one's own in a process that runs for long: looked at again and again, and the old ones stay where new ones fail."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trimtab_config.policy.bundle import PolicyBundle, read_bundle
from trimtab_config.policy.shipped import bundle_files, gate_of, try_bundle
from trimtab_kernel.problems import OutsideError, TrimtabError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trimtab_config.policy.gate import PolicyGate
    from trimtab_config.policy.signing import Trust


@dataclass(frozen=True, slots=True)
class InForce:
    """What judges now. ``trouble`` says why newer bundles do not; "" where these are the newest."""

    gate: PolicyGate
    bundles: tuple[PolicyBundle, ...]
    trouble: str = ""

    @property
    def digest(self) -> str:
        """Hex SHA-256 over the digests of all engines that judge."""
        return hashlib.sha256("".join(engine.digest for engine in self.gate.engines).encode()).hexdigest()


class FollowedBundles:
    """Bundles in folders that something else replaces. With ``trust`` each must be signed.

    The first look raises what is wrong (InputError, TrustError): a process must not begin with fewer rules than it was
    told. From then on what was in force stays in force until every new bundle is signed, whole and tried.
    """

    def __init__(self, folders: Sequence[Path], trust: Trust | None = None) -> None:
        self._folders = tuple(folders)
        self._trust = trust
        self._seen: tuple[dict[str, bytes], ...] | None = None
        self.now = self._taken()

    def look(self) -> InForce:
        """What is in force after looking again."""
        try:
            self.now = self._taken()
        except TrimtabError as error:
            # A folder that cannot be read today may be there tomorrow; the same goes for a signature.
            self._seen = None
            self.now = InForce(self.now.gate, self.now.bundles, str(error))
        return self.now

    def _taken(self) -> InForce:
        files = tuple(bundle_files(folder, self._trust) for folder in self._folders)
        if files == self._seen:
            return self.now
        bundles = tuple(read_bundle(each, str(folder)) for each, folder in zip(files, self._folders, strict=True))
        for bundle in bundles:
            try_bundle(bundle)
        made = InForce(gate_of(*bundles), bundles)
        (decision,) = made.gate.decide([b"{}"])
        if decision.allowed:
            raise OutsideError("the shipped rules let an empty question pass")
        self._seen = files
        return made
