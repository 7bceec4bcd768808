# METADATA
# title: update larger than the policy allows
# description: Every device of the group fetches these bytes, over a link that is paid by the gigabyte.
# custom:
#   unblock: Release a smaller variant (quantized, pruned), or ask the owner of the FinOpsPolicy to raise spec.updateBytes.
package trimtab.rules.finops.update_size

import data.trimtab.lib

finding contains {
	"item": version.version,
	"field": lib.version_field,
	"got": concat("", [version.version, " of ", lib.shown(version.size), " bytes"]),
	"expected": concat("", ["at most ", lib.text(["finops", "update", "text"])]),
} if {
	lib.on_device
	input.finops.update
	some version in input.model.versions
	not within(version)
}

within(version) if lib.at_most(version.size, input.finops.update.bytes)
