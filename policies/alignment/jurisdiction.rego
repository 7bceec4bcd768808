# METADATA
# title: group under a law that the policy does not cover
# description: The policy says under whose law such a model may run. A group's jurisdiction is where its devices stand.
# custom:
#   unblock: Choose labels that leave the group out, or refer to a policy that covers its jurisdiction.
package trimtab.rules.alignment.jurisdiction

import data.trimtab.lib

finding contains {
	"field": "spec.aiAlignmentPolicyRef",
	"got": concat("", ["group ", lib.text(["subject", "group"]), " in ", lib.text(["group", "jurisdiction"])]),
	"expected": lib.listed(lib.names(["alignment", "jurisdictions"])),
} if {
	lib.on_device
	input.alignment.jurisdictions
	not covered
}

covered if input.group.jurisdiction in input.alignment.jurisdictions
