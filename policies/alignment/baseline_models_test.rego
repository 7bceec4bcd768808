package trimtab.rules.alignment.baseline_models_test

import data.trimtab.inputs
import data.trimtab.rules.alignment.baseline_models

found(base, change) := result if {
	result := baseline_models.finding with input as object.union(base, change)
}

test_other if count(found(inputs.edge, {"alignment": {"name": "ai-alignment-policy-vision-sensitive"}})) == 0

test_prohibited if count(found(inputs.edge, {"alignment": {"name": "ai-alignment-policy-vision-sensitive"}, "model": {"name": "facial-recognition-v3"}})) == 1
