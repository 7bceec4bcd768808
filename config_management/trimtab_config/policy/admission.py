"""The rules as the API server asks them itself: ValidatingAdmissionPolicy for what CEL can say, and the webhook's registration.

Sources: Kubernetes documentation, "Validating Admission Policy" and "CEL in Kubernetes" (quantity library). One policy for
each rule; what it compares with stands in ConfigMaps, one for each FinOpsPolicy or AIAlignmentPolicy (and item), with the
level as a label that bindings select by. A message begins with the finding's id, which is the same as at render. CEL knows
no clock, so an exception counts until a commit removes it, as at render. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trimtab_config.policy.input import policy_parts
from trimtab_kernel import vocabulary
from trimtab_kernel.decisions import Row, rows_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trimtab_config.catalog import Catalog
    from trimtab_config.spec.kinds import PolicyException

RULE_LABEL = "policy.apexlogic.ai/rule"
LEVEL_LABEL = "policy.apexlogic.ai/level"
REFERENCE = "input.shape"
_ACTIONS = {"deny": ["Deny", "Audit"], "warn": ["Warn", "Audit"], "dry-run": ["Audit"]}
_UNLESS, _IF = "unless-excused", "if-excused"

# Who is meant, as findings name it. The renderer says the deployment's own namespace and name as the rollout's salt.
_VARIABLES = {
    "group": "has(object.metadata.annotations) && '{group}' in object.metadata.annotations"
    " ? object.metadata.annotations['{group}'] : ''",
    "salt": "has(object.spec.rollout) && has(object.spec.rollout.salt) ? object.spec.rollout.salt.split('/') : []",
    "own": "variables.salt.size() == 3 && variables.salt[2] == object.kind",
    "name": "variables.own ? variables.salt[1] : variables.group != '' &&"
    " object.metadata.name.endsWith('-' + variables.group) ? object.metadata.name.substring(0,"
    " object.metadata.name.size() - variables.group.size() - 1) : object.metadata.name",
    "subject": "(variables.own ? variables.salt[0] : object.metadata.namespace) + '/' + variables.name + '/' + variables.group",
    "model": "has(object.spec.modelId) ? object.spec.modelId : has(object.spec.modelRef) ? object.spec.modelRef.name : ''",
    "finops": "has(object.spec.finopsPolicyRef) ? object.spec.finopsPolicyRef : ''",
    "alignment": "has(object.spec.aiAlignmentPolicyRef) ? object.spec.aiAlignmentPolicyRef : ''",
}
_JUDGED = {
    "excused": "params.data.excused.split('\\n').exists(e, e in ['*@*', variables.name + '@*', '*@' + variables.group,"
    " variables.name + '@' + variables.group])",
    "meant": "params.data.policy == variables.{domain} && variables.excused == (params.data.applies == 'if-excused')",
}


@dataclass(frozen=True, slots=True)
class _Expression:
    """A rule in CEL: whether it is kept, and what is there instead (``got``), over ``variables`` of its own."""

    kept: str
    got: str
    kinds: tuple[str, ...] = ("edgeaideployments",)
    variables: Mapping[str, str] | None = None


_BOTH = ("edgeaideployments", "ondevicemodels")


def _cap(kind: str, *, asked_only: bool = False) -> _Expression:
    place = f"object.spec.resourceLimits.{kind}"
    there = f"has(object.spec.resourceLimits) && has({place})"
    kept = f"{there} && quantity(string({place})).compareTo(quantity(params.data.most)) <= 0"
    return _Expression(f"!({there}) || ({kept})" if asked_only else kept, f"{there} ? string({place}) : 'nothing'")


_MINUTES = "int({text}.substring(0, 2)) * 60 + int({text}.substring(3, 5))"
_WINDOW = {
    "window": "has(object.spec.update) && has(object.spec.update.window) ? object.spec.update.window : ''",
    "begin": f"variables.window == '' ? 0 : {_MINUTES.format(text='variables.window')}",
    "end": f"variables.window == '' ? 0 : {_MINUTES.format(text='variables.window.substring(6)')}",
    "from": "int(params.data.from)",
    "until": "int(params.data.until)",
    "length": "variables.begin == variables.end ? 1440 : (variables.end - variables.begin + 1440) % 1440",
    "most": "variables.from == variables.until ? 1440 : (variables.until - variables.from + 1440) % 1440",
}
_PROHIBITED = _Expression(
    "!(variables.model.lowerAscii() in params.data.models.split('\\n'))", "variables.model", kinds=_BOTH
)
EXPRESSIONS: Mapping[str, _Expression] = {
    "finops.cpu-cap": _cap("cpu"),
    "finops.baseline-cpu": _cap("cpu"),
    "finops.memory-cap": _cap("memory"),
    "finops.gpu-cap": _cap("gpu", asked_only=True),
    "finops.required-tags": _Expression(
        "has(object.spec.tags) && params.data.item in object.spec.tags && object.spec.tags[params.data.item].trim() != ''",
        "'no such tag'",
        kinds=_BOTH,
    ),
    "finops.update-window": _Expression(
        "variables.window != '' && (variables.from == variables.until ||"
        " (variables.begin - variables.from + 1440) % 1440 + variables.length <= variables.most)",
        "variables.window == '' ? 'nothing' : variables.window",
        variables=_WINDOW,
    ),
    "alignment.prohibited-models": _PROHIBITED,
    "alignment.baseline-models": _PROHIBITED,
    "alignment.inference-frequency": _Expression(
        "has(object.spec.inference) && has(object.spec.inference.maximumPerMinute) &&"
        " object.spec.inference.maximumPerMinute <= int(params.data.most)",
        "has(object.spec.inference) && has(object.spec.inference.maximumPerMinute) ?"
        " string(object.spec.inference.maximumPerMinute) : 'no limit'",
    ),
    "alignment.jurisdiction": _Expression(
        # What people write names no group yet: what is rendered of it does.
        "variables.group == '' || variables.place in params.data.names.split('\\n')",
        "'group ' + variables.group + ' in ' + variables.place",
        kinds=_BOTH,
        variables={
            "places": "params.data.places.split('\\n').filter(line, line.startsWith(variables.group + ' '))",
            "place": "variables.places.size() == 0 ? 'nothing' : variables.places[0].substring(variables.group.size() + 1)",
        },
    ),
    "alignment.prohibited-capabilities": _Expression(
        "!(variables.model in params.data.models.split('\\n'))",
        "variables.model + ', which is capable of ' + params.data.item",
    ),
    "alignment.data-egress": _Expression(
        "!has(object.spec.offload) || (params.data.allowed == 'true' && has(object.spec.offload.jurisdiction) &&"
        " (params.data.jurisdictions == '' || object.spec.offload.jurisdiction in params.data.jurisdictions.split('\\n')))",
        "'an offload to ' + (has(object.spec.offload) && has(object.spec.offload.jurisdiction) ?"
        " object.spec.offload.jurisdiction : 'nothing')",
    ),
}
"""The rules that CEL can say of an object, its annotations, and lists of the fleet's groups and models beside it."""
_VARIANT = "the variant that the group gets, of the Model"
WEBHOOK_ONLY: Mapping[str, str] = {
    "alignment.drift": "the version's evaluation, and an interval",
    "alignment.fairness": "the version's evaluation, and an interval",
    "alignment.lineage": "the version, of the Model",
    "alignment.signed-artifacts": _VARIANT,
    "finops.cost-ceiling": "prices, profiles and an interval",
    "finops.update-size": _VARIANT,
}
"""The rules that need more, which the webhook has: what that is."""
NOT_AT_ADMISSION: Mapping[str, str] = {
    "alignment.model-age": "a day",
    "alignment.refresh-cycle": "a day",
    "alignment.unused-versions": "a day",
    "finops.budget": "the month of the whole fleet, of which a deployment's own share is judged by the webhook",
    REFERENCE: "a document that is whole, which the compiler makes",
}
"""The rules that the API server judges in no way, or not wholly, and what they need."""


def validating_policies(catalog: Catalog, namespace: str) -> list[dict[str, Any]]:
    """Policies, bindings, and their parameters in ``namespace``, for all policy objects of the catalog; sorted by kind and name.

    A reference to a policy that the catalog does not have is refused as well: what is not there allows nothing.
    """
    parameters = [*_parameters(catalog, namespace), _references(catalog, namespace)]
    found = [*parameters]
    for rule in sorted({item["metadata"]["labels"][RULE_LABEL] for item in parameters}):
        found.append(_reference_policy() if rule == REFERENCE else _policy(rule, EXPRESSIONS[rule]))
        levels = {
            item["metadata"]["labels"][LEVEL_LABEL]
            for item in parameters
            if item["metadata"]["labels"][RULE_LABEL] == rule
        }
        found += [_binding(rule, level, namespace) for level in sorted(levels)]
    return sorted(found, key=lambda item: (item["kind"], item["metadata"]["name"]))


def webhook_configuration(service: str, namespace: str, *, fail_open: bool, timeout: int) -> dict[str, Any]:
    """What makes the API server ask ``trimtab admission-webhook`` behind ``service``.

    The CA bundle is left out: cert-manager writes it (``inject-ca-from``), or whoever applies this does. ``timeout`` in
    seconds, 1 to 30.
    """
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {
            "name": "trimtab-admission",
            "annotations": {"cert-manager.io/inject-ca-from": f"{namespace}/{service}"},
        },
        "webhooks": [
            {
                "name": "policies.apexlogic.ai",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Ignore" if fail_open else "Fail",
                "timeoutSeconds": timeout,
                "matchPolicy": "Equivalent",
                "clientConfig": {
                    "service": {"name": service, "namespace": namespace, "path": "/admit", "port": 443},
                },
                "rules": _resource_rules(_BOTH),
            }
        ],
    }


def _resource_rules(kinds: Iterable[str]) -> list[dict[str, Any]]:
    groups = {"edgeaideployments": "apexlogic.ai", "ondevicemodels": "mobileai.apexlogic.com"}
    return [
        {
            "apiGroups": [groups[kind]],
            "apiVersions": ["v1"],
            "operations": ["CREATE", "UPDATE"],
            "resources": [kind],
            "scope": "Namespaced",
        }
        for kind in kinds
    ]


def _parameters(catalog: Catalog, namespace: str) -> list[dict[str, Any]]:
    found = []
    for name, policy in (*catalog.finops_policies.items(), *catalog.alignment_policies.items()):
        parts = policy_parts(policy, "")
        parts["exceptions"] = []
        rows = rows_of(parts, None) if policy.kind == "FinOpsPolicy" else rows_of(None, parts)
        for row in rows:
            if row.rule not in EXPRESSIONS:
                continue
            excused = "" if row.fixed else _excused(row.rule, policy.spec.exceptions)
            for data in _data(row, catalog):
                shared = {"policy": name, "rule": row.rule, "excused": excused, **data}
                found.append(_config_map(row.rule, row.level, {**shared, "applies": _UNLESS}, namespace))
                if excused and row.level == "deny":
                    found.append(_config_map(row.rule, "warn", {**shared, "applies": _IF}, namespace))
    return found


def _excused(rule: str, exceptions: Sequence[PolicyException]) -> str:
    """Whom exceptions of the rule are for, a line each: deployment@group, with * for any."""
    return "\n".join(
        sorted(
            {
                f"{deployment}@{group}"
                for item in exceptions
                if item.rule == rule
                for deployment in item.deployments or ("*",)
                for group in item.groups or ("*",)
            }
        )
    )


def _data(row: Row, catalog: Catalog) -> list[dict[str, str]]:
    """The parameters of a row, one for each item that it may find. None where the catalog lacks what it would list."""
    limit: Mapping[str, Any] = row.limit
    match row.rule:
        case "finops.cpu-cap" | "finops.gpu-cap":
            return [{"most": f"{limit['milli']}m", "expected": f"at most {limit['text']}"}]
        case "finops.baseline-cpu":
            expected = f"at most {limit['text']}, the baseline of {limit['policy']}"
            return [{"most": f"{limit['milli']}m", "expected": expected}]
        case "finops.memory-cap":
            return [{"most": str(limit["bytes"]), "expected": f"at most {limit['text']}"}]
        case "finops.required-tags":
            return [{"item": str(tag), "expected": f"the tag {tag}"} for tag in limit["tags"]]
        case "finops.update-window":
            window = {"from": str(limit["from"]), "until": str(limit["until"])}
            return [{**window, "expected": f"a window within {limit['text']}"}]
        case "alignment.inference-frequency":
            return [{"most": str(limit["most"]), "expected": f"at most {limit['most']}"}]
        case "alignment.jurisdiction":
            places = [f"{name} {group.spec.jurisdiction}" for name, group in catalog.groups.items()]
            names = [str(name) for name in limit["names"]]
            expected = ", ".join(sorted(set(names)))
            data = {"places": "\n".join(places), "names": "\n".join(names), "expected": expected}
            return [data] if places else []
        case "alignment.prohibited-capabilities":
            prohibited = [str(name) for name in limit["capabilities"]]
            expected = f"none of {', '.join(sorted(set(prohibited)))}"
            return [
                {"item": item, "models": "\n".join(models), "expected": expected}
                for item in prohibited
                if (models := _capable(catalog, item))
            ]
        case "alignment.data-egress":
            places = limit["jurisdictions"]
            expected = ", ".join(sorted(places)) if limit["allowed"] else "no offload"
            allowed = "true" if limit["allowed"] else "false"
            return [{"allowed": allowed, "jurisdictions": "\n".join(places), "expected": expected}]
        case _:
            who = f"the baseline of {limit['policy']}" if row.fixed else limit["policy"]
            listed = "\n".join(str(name).lower() for name in limit["models"])
            return [{"models": listed, "expected": f"a model that {who} does not prohibit"}]


def _capable(catalog: Catalog, capability: str) -> list[str]:
    """The models that say so of themselves, whatever the case of its letters."""
    return [
        name
        for name, model in catalog.models.items()
        if capability.lower() in {item.lower() for item in model.spec.capabilities}
    ]


def _config_map(rule: str, level: str, data: Mapping[str, str], namespace: str) -> dict[str, Any]:
    told = "\0".join((rule, data["policy"], data.get("item", ""), data["applies"]))
    digest = hashlib.sha256(told.encode()).hexdigest()[:10]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"trimtab-{rule.replace('.', '-')}-{digest}",
            "namespace": namespace,
            "labels": {RULE_LABEL: rule, LEVEL_LABEL: level},
        },
        "data": {"item": "", **data},
    }


def _references(catalog: Catalog, namespace: str) -> dict[str, Any]:
    data = {
        "policy": "",
        "applies": "",
        "finops": "\n".join(sorted(catalog.finops_policies)),
        "alignment": "\n".join(sorted(catalog.alignment_policies)),
    }
    return _config_map(REFERENCE, "deny", data, namespace)


def _variables(*more: Mapping[str, str]) -> list[dict[str, str]]:
    every = {**_VARIABLES}
    for each in more:
        every |= each
    return [
        {"name": name, "expression": text.replace("{group}", vocabulary.FLEET_GROUP)} for name, text in every.items()
    ]


def _policy(rule: str, written: _Expression) -> dict[str, Any]:
    domain = rule.partition(".")[0]
    judged = {name: text.replace("{domain}", domain) for name, text in _JUDGED.items()}
    identity = "params.data.rule + (params.data.item == '' ? '' : ':' + params.data.item) + '@' + variables.subject"
    return _admission_policy(
        rule,
        written.kinds,
        _variables(judged, written.variables or {}),
        [
            {
                "expression": f"!variables.meant || ({written.kept})",
                "messageExpression": f"{identity} + ': got ' + ({written.got}) + ', expected ' + params.data.expected",
                "reason": "Forbidden",
            }
        ],
    )


def _reference_policy() -> dict[str, Any]:
    return _admission_policy(
        REFERENCE,
        _BOTH,
        _variables(),
        [
            {
                "expression": f"variables.{domain} == '' || variables.{domain} in params.data.{domain}.split('\\n')",
                "messageExpression": f"'{REFERENCE}:{domain}@' + variables.subject + ': got ' + variables.{domain}"
                " + ', expected a policy that this cluster knows'",
                "reason": "Forbidden",
            }
            for domain in ("finops", "alignment")
        ],
    )


def _admission_policy(
    rule: str, kinds: Iterable[str], variables: list[dict[str, str]], validations: list[dict[str, str]]
) -> dict[str, Any]:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": f"trimtab-{rule}"},
        "spec": {
            "failurePolicy": "Fail",
            "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
            "matchConstraints": {"matchPolicy": "Equivalent", "resourceRules": _resource_rules(kinds)},
            "variables": variables,
            "validations": validations,
        },
    }


def _binding(rule: str, level: str, namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": f"trimtab-{rule}-{level}"},
        "spec": {
            "policyName": f"trimtab-{rule}",
            "paramRef": {
                "namespace": namespace,
                "selector": {"matchLabels": {RULE_LABEL: rule, LEVEL_LABEL: level}},
                # Parameters that somebody removed allow nothing.
                "parameterNotFoundAction": "Deny",
            },
            "validationActions": _ACTIONS[level],
        },
    }
