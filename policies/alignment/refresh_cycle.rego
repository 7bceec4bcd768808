# METADATA
# title: model not refreshed in time
# description: >-
#   A model that nobody releases any more is a model that nobody looks after. Judged only where a day is given.
# custom:
#   unblock: Train and release a new version of the model.
package trimtab.rules.alignment.refresh_cycle

import data.trimtab.lib

finding contains {
	"field": lib.model_field,
	"got": concat("", [lib.text(["model", "name"]), ", last released ", newest]),
	"expected": concat("", ["a release in the last ", lib.shown(input.alignment.refresh_days), " days"]),
} if {
	lib.on_cluster
	input.alignment.refresh_days
	input.as_of_day
	not fresh
}

fresh if {
	is_number(input.model.newest_day)
	input.as_of_day - input.model.newest_day <= input.alignment.refresh_days
}

newest := input.model.newest if {
	is_string(input.model.newest)
} else := "on a day that is not known"
