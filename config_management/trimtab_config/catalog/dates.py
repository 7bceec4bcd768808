"""What a date makes wrong. Rendering knows no date; this is for validation, the pull-request check and the bot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimtab_config.spec.kinds import (
    AIAlignmentPolicySpec,
    Document,
    EdgeAIDeploymentSpec,
    HoldSpec,
    Level,
    PriceBookSpec,
)
from trimtab_config.spec.nearest import did_you_mean
from trimtab_kernel.problems import Problem, quoted, sort_problems

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterable

    from trimtab_config.catalog.index import Catalog
    from trimtab_config.spec.kinds import PolicyException

SOON = 14
"""Days before its end from which on an exception is told of."""


def date_problems(catalog: Catalog, as_of: datetime.date) -> tuple[Problem, ...]:
    """Holds past their date, prices out of theirs, models older than their policy allows, all on the day ``as_of``."""
    problems = [*_holds(catalog, as_of), *_price_books(catalog, as_of)]
    for deployment in catalog.deployments.values():
        problems += _ages(catalog, deployment, as_of)
    return sort_problems(problems)


def exception_problems(catalog: Catalog, as_of: datetime.date) -> tuple[Problem, ...]:
    """Exceptions from policies that are over on the day ``as_of`` (F605), or end within :data:`SOON` days (F606).

    And those that name a deployment or a group which the fleet does not have (F607); policies alone are no fleet.
    They refuse nothing: a rendering knows no date, so what is over still excuses until a commit removes it. The words say
    no distance to ``as_of``, so that a comment on a pull request changes on two days, not on each.
    """
    problems = []
    known = {
        "deployments": {
            each.metadata.name for each in (*catalog.deployments.values(), *catalog.on_device_models.values())
        },
        "groups": set(catalog.groups),
    }
    for policy in (*catalog.finops_policies.values(), *catalog.alignment_policies.values()):
        for index, item in enumerate(policy.spec.exceptions):
            path = f"spec.exceptions[{index}].until"
            got = f"the exception from {item.rule} for {_covered(item)}, until {item.until}"
            hint = f"{item.owner} answers for it: {item.reason}"
            if item.until < as_of:
                expected = "none that is over: rendering goes by it until a commit removes it"
                problems.append(_at("F605", policy, path, got, expected, hint))
            elif (item.until - as_of).days <= SOON:
                problems.append(_at("F606", policy, path, got, "a decision before that day", hint))
            for field, names in known.items():
                for place, name in enumerate(getattr(item, field)):
                    if names and name not in names:
                        where = f"spec.exceptions[{index}].{field}[{place}]"
                        kind = field.removesuffix("s")
                        problems.append(
                            _at(
                                "F607",
                                policy,
                                where,
                                quoted(name),
                                f"a {kind} of the fleet",
                                did_you_mean(name, sorted(names)),
                            )
                        )
    return sort_problems(problems)


def _covered(item: PolicyException) -> str:
    """Whom an exception is for, in words."""
    deployments = f"deployment {', '.join(item.deployments)}" if item.deployments else "every deployment"
    return f"{deployments} in {', '.join(item.groups) if item.groups else 'every group'}"


def _at(code: str, document: Document, path: str, got: str, expected: str, hint: str = "") -> Problem:
    return Problem(code, document.origin.file, document.origin.line_of(path), path, got, expected, hint)


def _holds(catalog: Catalog, as_of: datetime.date) -> Iterable[Problem]:
    for document in catalog.holds.values():
        hold: HoldSpec = document.spec
        if hold.until < as_of:
            hint = f"it still keeps {hold.model} out; {hold.owner} put it there: {hold.reason}"
            yield _at("F601", document, "spec.until", f"a Hold until {hold.until}", f"{as_of} or later", hint)


def _price_books(catalog: Catalog, as_of: datetime.date) -> Iterable[Problem]:
    """Only books that estimates use are judged: of those that price a region, the newest. Older ones are history."""
    newest: dict[str, Document] = {}
    for book in catalog.price_books.values():
        for region in book.spec.regions:
            known = newest.get(region)
            if known is None or book.spec.valid_from > known.spec.valid_from:
                newest[region] = book
    for book in {id(book): book for book in newest.values()}.values():
        spec: PriceBookSpec = book.spec
        if as_of > spec.valid_until:
            yield _at("F602", book, "spec.validUntil", f"prices until {spec.valid_until}", f"prices of {as_of}")
        elif as_of < spec.valid_from:
            yield _at("F602", book, "spec.validFrom", f"prices from {spec.valid_from} on", f"prices of {as_of}")
        yield from _exchange_rates(book, spec, as_of)


def _exchange_rates(book: Document, spec: PriceBookSpec, as_of: datetime.date) -> Iterable[Problem]:
    """Currencies that have rates and none of the day, at the rate whose time ended last."""
    for currency in sorted({rate.currency for rate in spec.exchange_rates}):
        rates = [
            (rate.valid_until, index) for index, rate in enumerate(spec.exchange_rates) if rate.currency == currency
        ]
        if not any(spec.exchange_rates[i].valid_from <= as_of <= spec.exchange_rates[i].valid_until for _, i in rates):
            until, index = max(rates)
            got = f"rates of {currency} until {until}" if until < as_of else f"no rate of {currency} yet"
            yield _at("F604", book, f"spec.exchangeRates[{index}].validUntil", got, f"a rate of {as_of}")


def _ages(catalog: Catalog, deployment: Document, as_of: datetime.date) -> Iterable[Problem]:
    spec: EdgeAIDeploymentSpec = deployment.spec
    policy = catalog.alignment_policies.get(spec.ai_alignment_policy_ref or "")
    model = catalog.models.get(spec.model_ref.name)
    if policy is None or model is None:
        return
    limits: AIAlignmentPolicySpec = policy.spec
    if limits.maximum_model_age is None or limits.level is not Level.DENY:
        return
    named = [("spec.modelRef.version", spec.model_ref.version)]
    if spec.rollout.stable:
        named.append(("spec.rollout.stable.version", spec.rollout.stable.version))
    released = {version.version: version.released for version in model.spec.versions}
    for path, version in named:
        if version not in released:
            continue
        day = released[version]
        expected = f"released at most {limits.maximum_model_age.days} days before {as_of} ({policy.metadata.name})"
        if day is None:
            yield _at("F603", deployment, path, f"{model.metadata.name} {version} without a release date", expected)
        elif as_of - day > limits.maximum_model_age:
            got = f"{model.metadata.name} {version}, released {day}"
            yield _at("F603", deployment, path, got, expected)
