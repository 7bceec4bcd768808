"""Where the pods of a group must connect to, and what stands against it: jurisdictions, policies, egress rules. Pure."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from trimtab_config.spec.kinds import EdgeAIDeploymentSpec, Level
from trimtab_kernel.problems import Problem, quoted
from trimtab_kernel.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trimtab_config.plan.placement import GroupPlan
    from trimtab_config.spec.kinds import AIAlignmentPolicySpec, DeviceGroupSpec, Document, EgressRule, Offload

_PORTS = {"https": 443, "http": 80, "oci": 443}
"""Schemes that the agent or the server opens a connection for. Buckets and files come from a mirror, by digest."""
# RFC 3986, the authority: user and password before "@", an IPv6 address in brackets, a port.
_URI = re.compile(
    r"(?P<scheme>https?|oci)://([^/?#@]*@)?(\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]/?#@:]+))"
    r"(:(?P<port>[0-9]{1,5})?)?(?=[/?#]|\Z)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """A host (a name, or an address without brackets) and a port."""

    host: str
    port: int

    @property
    def address(self) -> str | None:
        """The host as a network of one address, None for a name."""
        try:
            return str(ipaddress.ip_network(self.host))
        except ValueError:
            return None

    def __str__(self) -> str:
        """As in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def endpoint_of(uri: str) -> Endpoint | None:
    """The endpoint behind a URI; None where it needs no connection or names no host."""
    found = _URI.match(uri)
    if found is None:
        return None
    port = int(found["port"] or _PORTS[found["scheme"]])
    if not 0 < port < 65536:
        return None
    return Endpoint((found["address"] or found["name"]).lower(), port)


def endpoints(plan: GroupPlan) -> dict[Endpoint, tuple[Document, str]]:
    """Every endpoint that the group's runtime needs, with the first document and field that asks for it."""
    found: dict[Endpoint, tuple[Document, str]] = {}
    for placement in plan.placements:
        document = placement.document
        spec = document.spec
        if not isinstance(spec, EdgeAIDeploymentSpec):
            continue  # an app fetches it, on its own phone
        for choice in (placement.target, placement.stable):
            endpoint = None if choice is None else endpoint_of(choice.artifact.uri)
            if endpoint is not None:
                found.setdefault(endpoint, (document, "spec.modelRef.version"))
        endpoint = None if spec.offload is None else endpoint_of(spec.offload.endpoint)
        if endpoint is not None:
            found.setdefault(endpoint, (document, "spec.offload.endpoint"))
    return dict(sorted(found.items()))


def opening_rules(endpoint: Endpoint, rules: tuple[EgressRule, ...]) -> tuple[EgressRule, ...]:
    """The rules that open an endpoint: by its name, or by an address within theirs; and by its port."""
    address = endpoint.address
    return tuple(
        rule
        for rule in rules
        if endpoint.port in rule.ports
        and (endpoint.host in rule.hosts if address is None else any(_within(address, cidr) for cidr in rule.cidrs))
    )


def egress_problems(plan: GroupPlan, policies: Mapping[str, Document]) -> tuple[Problem, ...]:
    """Offloads and rules under another law (F312) or against a policy (F313), and endpoints that nothing opens (F314)."""
    group = plan.group
    spec: DeviceGroupSpec = group.spec
    problems = []
    for index, rule in enumerate(spec.network.egress):
        if rule.jurisdiction not in {None, spec.jurisdiction}:
            place = f"spec.network.egress[{index}].jurisdiction"
            expected = f"{spec.jurisdiction}, the group's jurisdiction"
            problems.append(_problem("F312", group, place, quoted(rule.jurisdiction), expected))
    for placement in plan.placements:
        own = placement.document.spec
        if isinstance(own, EdgeAIDeploymentSpec) and own.offload is not None:
            problems += _offload_problems(placement.document, own.offload, group, policies)
    if spec.network.egress:
        for endpoint, (document, field) in endpoints(plan).items():
            if not opening_rules(endpoint, spec.network.egress):
                expected = f"one that an egress rule of group {group.metadata.name} opens"
                hint = (
                    f"add it to spec.network.egress ({group.origin.file}:{group.origin.line_of('spec.network.egress')})"
                )
                problems.append(_problem("F314", document, field, f"endpoint {endpoint}", expected, hint))
    return tuple(problems)


def _offload_problems(
    document: Document, offload: Offload, group: Document, policies: Mapping[str, Document]
) -> list[Problem]:
    spec: DeviceGroupSpec = group.spec
    field = "spec.offload.jurisdiction"
    problems = []
    if offload.jurisdiction != spec.jurisdiction:
        expected = f"{spec.jurisdiction}, the jurisdiction of group {group.metadata.name}"
        hint = "offload to an endpoint there, or choose labels that leave the group out"
        problems.append(_problem("F312", document, field, quoted(offload.jurisdiction), expected, hint))
    reference = document.spec.ai_alignment_policy_ref
    policy = None if reference is None else policies.get(reference)
    if policy is None:
        return problems
    limits: AIAlignmentPolicySpec = policy.spec
    egress = limits.data_egress
    if limits.level is not Level.DENY:
        return problems
    where = f"dataEgress of {policy.metadata.name} ({policy.origin.file}:{policy.origin.line_of('spec.dataEgress')})"
    if not egress.allowed:
        problems.append(
            _problem("F313", document, "spec.offload", "an offload", f"none: {where} allows no data to leave")
        )
    elif egress.jurisdictions and offload.jurisdiction not in egress.jurisdictions:
        allowed = " or ".join(egress.jurisdictions)
        problems.append(_problem("F313", document, field, quoted(offload.jurisdiction), f"{allowed}, by {where}"))
    return problems


def _within(address: str, cidr: str) -> bool:
    one, other = ipaddress.ip_network(address), ipaddress.ip_network(cidr)
    return one.version == other.version and one.subnet_of(other)  # type: ignore[arg-type] # of one version, as was asked


def _problem(code: str, document: Document, field: str, got: str, expected: str, hint: str = "") -> Problem:
    return Problem(code, document.origin.file, document.origin.line_of(field), field, got, expected, hint)
