# METADATA
# title: CPU limit above what the named policy stands for
# description: >-
#   Devices of high priority in EMEA share their processor with what they are there for. Whoever refers to the policy of
#   that name gets its baseline, whatever the policy object in this tree says.
# custom:
#   unblock: Lower spec.resourceLimits.cpu to 750m or less, or refer to another FinOpsPolicy.
package trimtab.rules.finops.baseline_cpu

import data.trimtab.lib

baselines := {"finops-policy-emea-high-priority": {"milli": 750, "text": "750m"}}

finding contains {
	"field": "spec.resourceLimits.cpu",
	"got": lib.text(["limits", "cpu", "text"]),
	"expected": concat("", ["at most ", baseline.text, ", the baseline of ", input.finops.name]),
	"level": "deny",
} if {
	lib.on_cluster
	baseline := baselines[input.finops.name]
	not within(baseline)
}

within(baseline) if lib.at_most(input.limits.cpu.milli, baseline.milli)
