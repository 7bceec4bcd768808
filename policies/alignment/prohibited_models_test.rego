package trimtab.rules.alignment.prohibited_models_test

import data.trimtab.inputs
import data.trimtab.rules.alignment.prohibited_models

found(base, change) := result if {
	result := prohibited_models.finding with input as object.union(base, change)
}

test_other if count(found(inputs.edge, {"alignment": {"prohibited_models": ["x"]}})) == 0

test_prohibited if count(found(inputs.edge, {"alignment": {"prohibited_models": ["x", "Counter"]}})) == 1

test_on_a_phone if count(found(inputs.mobile, {"alignment": {"prohibited_models": ["pocket-counter"]}})) == 1
