# METADATA
# title: CPU limit above the policy's cap
# description: >-
#   A limit is a reservation: every device of the group sets it aside, and the month pays for it, used or not.
# custom:
#   unblock: Lower spec.resourceLimits.cpu, or ask the owner of the FinOpsPolicy to raise spec.caps.cpu.
package trimtab.rules.finops.cpu_cap

import data.trimtab.lib

finding contains {
	"field": "spec.resourceLimits.cpu",
	"got": lib.text(["limits", "cpu", "text"]),
	"expected": concat("", ["at most ", lib.text(["finops", "caps", "cpu", "text"])]),
} if {
	lib.on_cluster
	input.finops.caps.cpu
	not within
}

within if lib.at_most(input.limits.cpu.milli, input.finops.caps.cpu.milli)
