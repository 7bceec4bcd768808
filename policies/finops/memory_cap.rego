# METADATA
# title: memory limit above the policy's cap
# description: >-
#   A limit is a reservation: every device of the group sets it aside, and the month pays for it, used or not.
# custom:
#   unblock: Lower spec.resourceLimits.memory, or ask the owner of the FinOpsPolicy to raise spec.caps.memory.
package trimtab.rules.finops.memory_cap

import data.trimtab.lib

finding contains {
	"field": "spec.resourceLimits.memory",
	"got": lib.text(["limits", "memory", "text"]),
	"expected": concat("", ["at most ", lib.text(["finops", "caps", "memory", "text"])]),
} if {
	lib.on_cluster
	input.finops.caps.memory
	not within
}

within if lib.at_most(input.limits.memory.bytes, input.finops.caps.memory.bytes)
