package trimtab.rules.finops.memory_cap_test

import data.trimtab.inputs
import data.trimtab.rules.finops.memory_cap

found(base, change) := result if {
	result := memory_cap.finding with input as object.union(base, change)
}

test_at_the_cap if count(found(inputs.edge, {"finops": {"caps": {"memory": {"bytes": 100, "text": "100"}}}, "limits": {"memory": {"bytes": 100, "text": "100"}}})) == 0

test_above_the_cap if count(found(inputs.edge, {"finops": {"caps": {"memory": {"bytes": 100, "text": "100"}}}, "limits": {"memory": {"bytes": 101, "text": "101"}}})) == 1
