# METADATA
# title: data may not leave
# description: >-
#   A request that is offloaded takes its data along. A policy without egress keeps them on the device; one with egress may
#   say to which jurisdictions they may go.
# custom:
#   unblock: Remove spec.offload, or name an endpoint in a jurisdiction that the message lists.
package trimtab.rules.alignment.data_egress

import data.trimtab.lib

finding contains {
	"field": "spec.offload.jurisdiction",
	"got": concat("", ["an offload to ", lib.text(["offload", "jurisdiction"])]),
	"expected": expected,
} if {
	lib.on_cluster
	input.alignment.egress
	input.offload
	not permitted
}

permitted if {
	input.alignment.egress.allowed == true
	is_string(input.offload.jurisdiction)
	listed
}

# Egress that is allowed without a list is allowed everywhere.
listed if input.alignment.egress.jurisdictions == []

listed if input.offload.jurisdiction in input.alignment.egress.jurisdictions

expected := lib.listed(input.alignment.egress.jurisdictions) if {
	input.alignment.egress.allowed == true
} else := "no offload"
