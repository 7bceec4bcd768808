# METADATA
# title: unused version past its time
# description: >-
#   What lies about will be deployed one day by mistake. A version that no deployment names expires some time after its
#   release. Judged only where a day is given.
# custom:
#   unblock: Remove the version from the Model; Git keeps it.
package trimtab.rules.alignment.unused_versions

import data.trimtab.lib

finding contains {
	"item": version.version,
	"field": lib.model_field,
	"got": concat("", [lib.text(["model", "name"]), " ", version.version, ", unused, released ", released(version)]),
	"expected": concat("", ["unused versions of at most ", lib.shown(input.alignment.unused_days), " days"]),
} if {
	lib.on_cluster
	input.alignment.unused_days
	input.as_of_day
	some version in input.model.unused
	not young(version)
}

young(version) if {
	is_number(version.released_day)
	input.as_of_day - version.released_day <= input.alignment.unused_days
}

released(version) := version.released if {
	is_string(version.released)
} else := "on a day that is not known"
