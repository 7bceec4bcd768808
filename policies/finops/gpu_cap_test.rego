package trimtab.rules.finops.gpu_cap_test

import data.trimtab.inputs
import data.trimtab.rules.finops.gpu_cap

found(base, change) := result if {
	result := gpu_cap.finding with input as object.union(base, change)
}

test_at_the_cap if count(found(inputs.edge, {"finops": {"caps": {"gpu": {"milli": 1000, "text": "1"}}}, "limits": {"gpu": {"milli": 1000, "text": "1"}}})) == 0

test_above_the_cap if count(found(inputs.edge, {"finops": {"caps": {"gpu": {"milli": 1000, "text": "1"}}}, "limits": {"gpu": {"milli": 2000, "text": "2"}}})) == 1

test_none_asked_for if count(found(inputs.edge, {"finops": {"caps": {"gpu": {"milli": 0, "text": "0"}}}})) == 0
