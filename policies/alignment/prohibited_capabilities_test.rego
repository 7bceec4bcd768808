package trimtab.rules.alignment.prohibited_capabilities_test

import data.trimtab.inputs
import data.trimtab.rules.alignment.prohibited_capabilities

found(base, change) := result if {
	result := prohibited_capabilities.finding with input as object.union(base, change)
}

test_other if count(found(inputs.edge, {"alignment": {"prohibited_capabilities": ["x"]}})) == 0

test_prohibited if count(found(inputs.edge, {"alignment": {"prohibited_capabilities": ["x", "Counting"]}})) == 1
