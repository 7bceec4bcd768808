"""The same Rego for OPA Gatekeeper: one ConstraintTemplate with the rules about an object alone, a constraint for each level.

Source: Gatekeeper documentation, "Constraint Templates" (``code`` with engine Rego and version v1, ``libs`` whose packages
begin with ``lib``). A small program before the rules makes the input document of what Gatekeeper has: the object as it was
applied and, as parameters, the fleet's policies. It is put together of the Rego sources, which a checkout has. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trimtab_config.policy.input import policy_parts
from trimtab_kernel import vocabulary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trimtab_config.catalog import Catalog

KIND = "TrimtabPolicies"
RULES = (
    "finops.baseline-cpu",
    "finops.cpu-cap",
    "finops.gpu-cap",
    "finops.memory-cap",
    "finops.required-tags",
    "finops.update-window",
    "alignment.baseline-models",
    "alignment.data-egress",
    "alignment.inference-frequency",
    "alignment.prohibited-models",
)
"""The rules that need the object and its policies alone."""
_ACTIONS = {"deny": "deny", "warn": "warn", "dry-run": "dryrun"}

_PROGRAM = """package trimtabpolicies

import data.lib.trimtab.main

violation contains {"msg": message, "details": {"id": found.id}} if {
	some answer in main.decisions with input as {"requests": [request]}
	some found in answer.findings
	found.level == input.parameters.level
	message := concat("", [found.id, ": got ", found.got, ", expected ", found.expected])
}

# A policy that is not among the parameters allows nothing.
violation contains {"msg": message, "details": {"id": identity}} if {
	input.parameters.level == "deny"
	some domain, field in {"finops": "finopsPolicyRef", "alignment": "aiAlignmentPolicyRef"}
	name := spec[field]
	not input.parameters[domain][name]
	identity := concat("", ["input.shape:", domain, "@", concat("/", [own_namespace, own_name, group])])
	message := concat("", [identity, ": got ", name, ", expected a policy that this cluster knows"])
}

object_of := input.review.object

spec := object_of.spec

group := object.get(object_of, ["metadata", "annotations", "{group}"], "")

salt := split(object.get(spec, ["rollout", "salt"], ""), "/")

salted if {
	count(salt) == 3
	salt[2] == object_of.kind
}

own_namespace := salt[0] if {
	salted
} else := object_of.metadata.namespace

own_name := salt[1] if {
	salted
} else := trim_suffix(object_of.metadata.name, concat("", ["-", group])) if {
	group != ""
} else := object_of.metadata.name

request := object.union_n([limits, updates, offloads, {
	"version": 1,
	"subject": {"kind": object_of.kind, "namespace": own_namespace, "name": own_name, "group": group},
	"model": {"name": model, "versions": []},
	"tags": object.get(spec, "tags", {}),
	"inference": frequency,
	"finops": policy("finops", "finopsPolicyRef"),
	"alignment": policy("alignment", "aiAlignmentPolicyRef"),
}])

model := spec.modelId if {
	spec.modelId
} else := spec.modelRef.name

policy(domain, field) := with_exceptions(found) if {
	found := input.parameters[domain][spec[field]]
} else := null

with_exceptions(found) := object.union(found, {"exceptions": [exception |
	some exception in object.get(found, "exceptions", [])
	meant(exception.deployments, own_name)
	meant(exception.groups, group)
]})

meant(names, name) if names == []

meant(names, name) if name in names

frequency := {"maximum_per_minute": spec.inference.maximumPerMinute} if {
	spec.inference.maximumPerMinute
} else := {}

limits := {"limits": {kind: quantity |
	some kind, written in spec.resourceLimits
	quantity := amount(kind, as_text(written))
}} if {
	spec.resourceLimits
} else := {}

amount("memory", text) := {"bytes": ceil(units.parse_bytes(text)), "text": text}

amount(kind, text) := {"milli": milli(text), "text": text} if kind in {"cpu", "gpu"}

# Two suffixes of Kubernetes that units.parse does not know. What neither can read stays undefined, and is denied.
milli(text) := ceil(to_number(trim_suffix(text, "u")) / 1000) if {
	endswith(text, "u")
} else := ceil(to_number(trim_suffix(text, "n")) / 1000000) if {
	endswith(text, "n")
} else := ceil(units.parse(text) * 1000)

as_text(value) := value if {
	is_string(value)
} else := json.marshal(value)

updates := {"update": {"window": {"from": minute(begin), "until": minute(end), "text": spec.update.window}}} if {
	[begin, end] := split(spec.update.window, "-")
} else := {}

minute(text) := (to_number(hours) * 60) + to_number(minutes) if [hours, minutes] := split(text, ":")

offloads := {"offload": spec.offload} if {
	spec.offload
} else := {}
"""


def gatekeeper_objects(catalog: Catalog, core: Mapping[str, str], rules: Mapping[str, str]) -> list[dict[str, Any]]:
    """The template and its constraints.

    ``core`` has the sources ``lib.rego`` and ``main.rego``, ``rules`` those of :data:`RULES` by the rule's name. Raises
    KeyError for one that is missing.
    """
    libs = [_lib(core["lib.rego"]), _lib(core["main.rego"]), *(_lib(rules[rule]) for rule in RULES)]
    template = {
        "apiVersion": "templates.gatekeeper.sh/v1",
        "kind": "ConstraintTemplate",
        "metadata": {"name": KIND.lower()},
        "spec": {
            "crd": {
                "spec": {
                    "names": {"kind": KIND},
                    "validation": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "properties": {
                                "level": {"type": "string", "enum": list(_ACTIONS)},
                                "finops": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                                "alignment": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                            },
                        }
                    },
                }
            },
            "targets": [
                {
                    "target": "admission.k8s.gatekeeper.sh",
                    "code": [
                        {
                            "engine": "Rego",
                            "source": {
                                "version": "v1",
                                "rego": _PROGRAM.replace("{group}", vocabulary.FLEET_GROUP),
                                "libs": libs,
                            },
                        }
                    ],
                }
            ],
        },
    }
    parameters = {
        "finops": {name: policy_parts(policy, None) for name, policy in catalog.finops_policies.items()},
        "alignment": {name: policy_parts(policy, None) for name, policy in catalog.alignment_policies.items()},
    }
    return [template, *(_constraint(level, action, parameters) for level, action in _ACTIONS.items())]


def _lib(source: str) -> str:
    """A source as a library of Gatekeeper: its packages begin with ``lib``."""
    return source.replace("package trimtab.", "package lib.trimtab.").replace("data.trimtab.", "data.lib.trimtab.")


def _constraint(level: str, action: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "constraints.gatekeeper.sh/v1beta1",
        "kind": KIND,
        "metadata": {"name": f"trimtab-{level}"},
        "spec": {
            "enforcementAction": action,
            "match": {
                "kinds": [
                    {"apiGroups": ["apexlogic.ai"], "kinds": ["EdgeAIDeployment"]},
                    {"apiGroups": ["mobileai.apexlogic.com"], "kinds": ["OnDeviceModel"]},
                ]
            },
            "parameters": {"level": level, **parameters},
        },
    }
