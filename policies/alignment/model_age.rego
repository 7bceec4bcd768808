# METADATA
# title: version older than the policy allows
# description: >-
#   The world that a model learned moves on. Judged only where a day is given (validation, the pull request): a rendering
#   knows no date.
# custom:
#   unblock: Deploy a newer version, or release one; a version must have its day of release.
package trimtab.rules.alignment.model_age

import data.trimtab.lib

finding contains {
	"item": version.version,
	"field": lib.version_field,
	"got": concat("", [version.version, ", released ", released(version)]),
	"expected": concat("", ["released at most ", lib.shown(input.alignment.maximum_age_days), " days ago"]),
} if {
	lib.on_cluster
	input.alignment.maximum_age_days
	input.as_of_day
	some version in input.model.versions
	not young(version)
}

young(version) if {
	is_number(version.released_day)
	input.as_of_day - version.released_day <= input.alignment.maximum_age_days
}

released(version) := version.released if {
	is_string(version.released)
} else := "on a day that is not known"
