# METADATA
# title: GPU limit above the policy's cap
# description: >-
#   Accelerators are the dearest part of a device, and one that is reserved here serves nobody else.
# custom:
#   unblock: Lower spec.resourceLimits.gpu, or ask the owner of the FinOpsPolicy to raise spec.caps.gpu.
package trimtab.rules.finops.gpu_cap

import data.trimtab.lib

finding contains {
	"field": "spec.resourceLimits.gpu",
	"got": lib.text(["limits", "gpu", "text"]),
	"expected": concat("", ["at most ", lib.text(["finops", "caps", "gpu", "text"])]),
} if {
	lib.on_cluster
	input.finops.caps.gpu
	input.limits.gpu
	not within
}

within if lib.at_most(input.limits.gpu.milli, input.finops.caps.gpu.milli)
