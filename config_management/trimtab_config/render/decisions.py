"""What devices judge by themselves: the rows of policies, and the facts that they ask, for the desired document. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimtab_config.policy.input import policy_parts, release_day
from trimtab_kernel.decisions import ON_DEVICE, rows_of
from trimtab_kernel.desired import ModelPolicy, VersionFacts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trimtab_config.catalog import Catalog
    from trimtab_config.plan.placement import Choice, Placement
    from trimtab_config.spec.kinds import Document
    from trimtab_kernel.decisions import Row

_FINOPS, _ALIGNMENT = "finops/", "alignment/"


class DevicePolicies:
    """Tables and facts for one catalog; what is the same for many groups is worked out once."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._rows: dict[tuple[str, str], tuple[Row, ...]] = {}
        self._facts: dict[tuple[int, int, str, str], tuple[Placement, ModelPolicy | None]] = {}

    def of_model(self, placement: Placement) -> ModelPolicy | None:
        """What judges a placement; None where its policies ask nothing of devices."""
        spec = placement.document.spec
        finops, alignment = spec.finops_policy_ref or "", spec.ai_alignment_policy_ref or ""
        if not finops and not alignment:
            return None
        key = (id(placement.target), id(placement.stable), finops, alignment)
        known = self._facts.get(key)
        if known is None:
            known = self._facts[key] = (placement, self._made(placement, finops, alignment))
        return known[1]

    def tables(self, policies: Iterable[ModelPolicy | None], group: str) -> tuple[tuple[str, tuple[Row, ...]], ...]:
        """The tables that ``policies`` refer to, by name, with the exceptions that hold in ``group``."""
        names = sorted({name for policy in policies if policy is not None for name in policy.tables})
        return tuple((name, self._table(name, group)) for name in names)

    def _table(self, name: str, group: str) -> tuple[Row, ...]:
        policy = self._policy(name)
        if policy is None:
            return ()
        key = (name, group if any(item.groups for item in policy.spec.exceptions) else "")
        known = self._rows.get(key)
        if known is None:
            parts = policy_parts(policy, group)
            rows = rows_of(parts, None) if name.startswith(_FINOPS) else rows_of(None, parts)
            known = self._rows[key] = tuple(row for row in rows if row.rule in ON_DEVICE)
        return known

    def _policy(self, name: str) -> Document | None:
        if name.startswith(_FINOPS):
            return self._catalog.finops_policies.get(name.removeprefix(_FINOPS))
        return self._catalog.alignment_policies.get(name.removeprefix(_ALIGNMENT))

    def _made(self, placement: Placement, finops: str, alignment: str) -> ModelPolicy | None:
        asked = ((_FINOPS, finops), (_ALIGNMENT, alignment))
        named = tuple(f"{prefix}{name}" for prefix, name in asked if name and self._table(f"{prefix}{name}", ""))
        if not named:
            return None
        model = self._catalog.models.get(placement.model) if placement.document.kind == "EdgeAIDeployment" else None
        choices = [choice for choice in (placement.target, placement.stable) if choice is not None]
        versions = {choice.version: _version(choice, model) for choice in choices}
        days = [] if model is None else [day for version in model.spec.versions if (day := release_day(version))]
        newest = max(days, key=lambda day: day[1], default=None)
        return ModelPolicy(
            named,
            () if model is None else tuple(model.spec.capabilities),
            tuple(versions.values()),
            None if newest is None else newest[0],
            None if newest is None else newest[1],
        )


def _version(choice: Choice, model: Document | None) -> VersionFacts:
    released = None
    if model is not None:
        released = next((item for item in model.spec.versions if item.version == choice.version), None)
    if released is None:
        return VersionFacts(choice.version, signed=False)
    day = release_day(released)
    signed = any(
        variant.digest == choice.artifact.digest and variant.signature is not None for variant in released.variants
    )
    return VersionFacts(
        choice.version,
        signed,
        None if day is None else day[0],
        None if day is None else day[1],
        released.lineage.pipeline,
    )
