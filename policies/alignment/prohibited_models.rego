# METADATA
# title: model prohibited by the alignment policy
# description: The owner of the policy has decided that this model may not run where the policy holds.
# custom:
#   unblock: Deploy another model, or ask the owner of the AIAlignmentPolicy. Renaming the model is not a way out.
package trimtab.rules.alignment.prohibited_models

import data.trimtab.lib

finding contains {
	"field": lib.model_field,
	"got": lib.text(["model", "name"]),
	"expected": concat("", ["a model that ", lib.text(["alignment", "name"]), " does not prohibit"]),
} if {
	lib.on_device
	some prohibited in input.alignment.prohibited_models
	not differs(prohibited)
}

# Letter case is no difference: a file system or a registry may not see one either.
differs(prohibited) if lower(input.model.name) != lower(prohibited)
