# METADATA
# title: inferences dearer than the policy's ceiling
# description: >-
#   The estimate says before merge what a thousand more inferences will cost. It refuses where its whole interval lies above
#   the ceiling, and says so for a trial run where only a part of it does, or where no profile tells.
# custom:
#   unblock: Choose a cheaper variant or version, measure its profile, or ask the owner of the policy for another ceiling.
package trimtab.rules.finops.cost_ceiling

import data.trimtab.lib

finding contains object.union(dear(version), leniency(version)) if {
	lib.on_device
	input.finops.ceiling
	some version in input.model.versions
	not affordable(version, "high_pico")
}

affordable(version, bound) if {
	version.per_1k.currency == input.finops.ceiling.currency
	lib.at_most(version.per_1k[bound], input.finops.ceiling.pico)
}

dear(version) := {
	"item": version.version,
	"field": lib.version_field,
	"got": got(version),
	"expected": concat("", ["at most ", lib.text(["finops", "ceiling", "text"]), " for a thousand inferences"]),
}

got(version) := concat("", [version.version, " at ", version.per_1k.text, " in ", lib.text(["subject", "group"])]) if {
	is_string(version.per_1k.text)
} else := concat("", [version.version, " at a cost that is not known"])

# Not the whole interval, or no figure at all: nothing is proven.
leniency(version) := {"level": "dry-run"} if {
	affordable(version, "low_pico")
} else := {"level": "dry-run"} if {
	version.per_1k == null
} else := {}
