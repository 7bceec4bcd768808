package trimtab.rules.alignment.inference_frequency_test

import data.trimtab.inputs
import data.trimtab.rules.alignment.inference_frequency

found(base, change) := result if {
	result := inference_frequency.finding with input as object.union(base, change)
}

test_within if count(found(inputs.edge, {"alignment": {"maximum_per_minute": 60}})) == 0

test_beyond if count(found(inputs.edge, {"alignment": {"maximum_per_minute": 59}})) == 1

test_no_limit if count(found(inputs.edge, {"alignment": {"maximum_per_minute": 59}, "inference": {"maximum_per_minute": "none"}})) == 1
