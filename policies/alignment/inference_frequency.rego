# METADATA
# title: inferences more often than the policy allows
# description: >-
#   How often people or places are looked at is a matter of alignment, not of capacity alone. A deployment under such a
#   policy must state its limit, which devices enforce.
# custom:
#   unblock: Set spec.inference.maximumPerMinute to the number that the message names, or lower.
package trimtab.rules.alignment.inference_frequency

import data.trimtab.lib

finding contains {
	"field": "spec.inference.maximumPerMinute",
	"got": got,
	"expected": concat("", ["at most ", lib.shown(input.alignment.maximum_per_minute)]),
} if {
	lib.on_cluster
	input.alignment.maximum_per_minute
	not within
}

within if lib.at_most(input.inference.maximum_per_minute, input.alignment.maximum_per_minute)

got := lib.shown(input.inference.maximum_per_minute) if {
	is_number(input.inference.maximum_per_minute)
} else := "no limit"
