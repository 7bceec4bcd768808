"""OpenCost's allocation API: one answer is a list of steps, each a map of allocations by name.

Layout: opencost.io/docs/integrations/api (``/allocation``, ``/allocation/compute``) and opencost.io/docs/integrations/
api-examples, read 2026-11. Every part of an allocation's cost is a charge of its own, its adjustment included; what the
total says beyond them is one more charge, so that the charges add up to the total exactly. OpenCost's money has no
currency in the answer: whoever reads it must say which.
"""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from trimtab_config.bills.cells import CellError, moment, month_of, shown, sorted_tags
from trimtab_config.bills.charges import EXACT, MOST, Category, Charge
from trimtab_config.bills.layouts import Kind
from trimtab_kernel.problems import InputError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PARTS = {
    "cpu": "CPU",
    "gpu": "GPU",
    "ram": "Memory",
    "pv": "Storage",
    "network": "Network",
    "loadBalancer": "Load balancer",
    "shared": "Shared",
    "external": "External",
}
_OTHER = "Other"
_TAGGED = ("labels", "namespaceLabels", "annotations", "namespaceAnnotations")
_NAMED = ("cluster", "node", "namespace", "controllerKind", "controller", "pod", "container")
_ZERO = Decimal(0)
_SMALLEST = Decimal(1).scaleb(-40)


def allocations(content: bytes, file: str, currency: str) -> Iterator[Charge]:
    """The charges of one answer. Raises InputError (F701, F703) that names allocation and field."""
    try:
        answer = json.loads(content, parse_float=Decimal, parse_int=Decimal)
    except (ValueError, RecursionError) as error:
        raise InputError(
            Problem("F701", file, 0, "", f"no JSON: {error}", "an answer of OpenCost's /allocation")
        ) from None
    steps = answer.get("data") if isinstance(answer, dict) else None
    if isinstance(steps, dict):  # what accumulate=true gives on some versions
        steps = [steps]
    if not isinstance(steps, list):
        raise InputError(Problem("F701", file, 0, "data", "no list of steps", "an answer of OpenCost's /allocation"))
    for place, step in enumerate(steps):
        if step is None:
            continue
        if not isinstance(step, dict):
            raise InputError(Problem("F703", file, 0, f"data[{place}]", "no map of allocations", "one for each step"))
        for name, allocation in step.items():
            yield from _Allocation(allocation, name, f"data[{place}].{name}", file, currency).charges()


class _Allocation:
    def __init__(self, content: object, name: str, place: str, file: str, currency: str) -> None:
        self._name = name
        self._place = place
        self._file = file
        self._currency = currency
        if not isinstance(content, dict):
            raise self._refused("", "no allocation", "a map")
        self._content: Mapping[str, object] = content

    def _refused(self, field: str, got: str, expected: str) -> InputError:
        return InputError(Problem("F703", self._file, 0, f"{self._place}.{field}".rstrip("."), got, expected))

    def charges(self) -> Iterator[Charge]:
        window = self._content.get("window")
        bounds = window if isinstance(window, dict) else {}
        try:
            start = moment(str(self._content.get("start") or bounds.get("start") or ""))
            end = moment(str(self._content.get("end") or bounds.get("end") or ""))
        except CellError as error:
            raise self._refused("window", shown(str(bounds)), str(error)) from None
        first, after = month_of(start)
        properties = self._content.get("properties")
        known = properties if isinstance(properties, dict) else {}
        named = {key: str(known[key]) for key in _NAMED if known.get(key)}
        tags: dict[str, str] = {}
        for field in reversed(_TAGGED):  # those of the pod count before those of its namespace
            found = known.get(field)
            if isinstance(found, dict):
                tags.update({str(key): str(value) for key, value in found.items() if value is not None})
        rest = self._money("totalCost")
        for part, service in (*_PARTS.items(), (_OTHER, _OTHER)):
            if part == _OTHER:
                amount = rest
            else:
                amount = EXACT.add(self._money(f"{part}Cost"), self._money(f"{part}CostAdjustment"))
                rest = EXACT.subtract(rest, amount)
            if amount:
                yield Charge(
                    source=Kind.OPENCOST,
                    billing_start=first,
                    billing_end=after,
                    start=start,
                    end=max(end, start + timedelta(seconds=1)),
                    currency=self._currency,
                    amount=amount,
                    effective=amount,
                    category=Category.USAGE if part != _OTHER else Category.ADJUSTMENT,
                    kind="idle" if self._name.startswith("__idle__") else "allocation",
                    account=named.get("cluster", ""),
                    issuer="OpenCost",
                    provider="Kubernetes",
                    service=service,
                    service_category="Compute" if part in {"cpu", "gpu", "ram"} else "Other",
                    resource="/".join(named.values()) or self._name,
                    description=f"{service} of {self._name}",
                    tags=sorted_tags(tags.items()),
                )

    def _money(self, field: str) -> Decimal:
        value = self._content.get(field)
        if value is None:
            return _ZERO
        if not isinstance(value, Decimal) or not value.is_finite() or not -MOST < value < MOST:
            raise self._refused(field, shown(str(value)), "an amount below 10^14")
        return value if abs(value) >= _SMALLEST else _ZERO  # what a float leaves of nothing, beyond what sums keep
