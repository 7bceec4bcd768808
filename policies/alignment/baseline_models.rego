# METADATA
# title: model prohibited by what the named policy stands for
# description: >-
#   Sensitive vision means that nobody is recognised by face. Whoever refers to the policy of that name gets its baseline,
#   whatever the policy object in this tree says.
# custom:
#   unblock: Deploy another model; where faces may be recognised, another AIAlignmentPolicy holds.
package trimtab.rules.alignment.baseline_models

import data.trimtab.lib

baselines := {"ai-alignment-policy-vision-sensitive": ["facial-recognition-v3"]}

finding contains {
	"field": lib.model_field,
	"got": lib.text(["model", "name"]),
	"expected": concat("", ["a model that the baseline of ", input.alignment.name, " does not prohibit"]),
	"level": "deny",
} if {
	lib.on_device
	some prohibited in baselines[input.alignment.name]
	not differs(prohibited)
}

differs(prohibited) if lower(input.model.name) != lower(prohibited)
