# METADATA
# title: data would leave the jurisdiction
# description: >-
#   A request that is offloaded takes its data along. A policy without egress keeps them in the group's own jurisdiction; one
#   with egress says to which jurisdictions they may go.
# custom:
#   unblock: Name an endpoint in a jurisdiction that the message lists, or remove spec.offload.
package trimtab.rules.alignment.data_egress

import data.trimtab.lib

finding contains {
	"field": "spec.offload.jurisdiction",
	"got": lib.text(["offload", "jurisdiction"]),
	"expected": lib.listed(allowed),
} if {
	lib.on_cluster
	input.alignment.egress
	input.offload
	not permitted
}

permitted if input.offload.jurisdiction in allowed

# Egress that is allowed without a list is allowed everywhere.
permitted if {
	input.alignment.egress.allowed == true
	count(input.alignment.egress.jurisdictions) == 0
	is_string(input.offload.jurisdiction)
}

allowed := {input.group.jurisdiction} | {place |
	input.alignment.egress.allowed == true
	some place in input.alignment.egress.jurisdictions
}
