# METADATA
# title: capability prohibited by the alignment policy
# description: What a model can do matters more than what it is called. Its capabilities are declared in the Model.
# custom:
#   unblock: Deploy a model without the capability, or ask the owner of the AIAlignmentPolicy.
package trimtab.rules.alignment.prohibited_capabilities

import data.trimtab.lib

finding contains {
	"item": prohibited,
	"field": lib.model_field,
	"got": concat("", [lib.text(["model", "name"]), ", which is capable of ", prohibited]),
	"expected": concat("", ["none of ", lib.listed(lib.names(["alignment", "prohibited_capabilities"]))]),
} if {
	lib.on_device
	some prohibited in input.alignment.prohibited_capabilities
	some capability in input.model.capabilities
	not differs(prohibited, capability)
}

differs(prohibited, capability) if lower(capability) != lower(prohibited)
