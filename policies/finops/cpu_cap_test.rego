package trimtab.rules.finops.cpu_cap_test

import data.trimtab.inputs
import data.trimtab.rules.finops.cpu_cap

found(base, change) := result if {
	result := cpu_cap.finding with input as object.union(base, change)
}

test_at_the_cap if count(found(inputs.edge, {"finops": {"caps": {"cpu": {"milli": 750, "text": "750m"}}}, "limits": {"cpu": {"milli": 750, "text": "750m"}}})) == 0

test_above_the_cap if count(found(inputs.edge, {"finops": {"caps": {"cpu": {"milli": 750, "text": "750m"}}}, "limits": {"cpu": {"milli": 751, "text": "751m"}}})) == 1

test_text_is_no_number if count(found(inputs.edge, {"finops": {"caps": {"cpu": {"milli": 750, "text": "750m"}}}, "limits": {"cpu": {"milli": "500", "text": "500"}}})) == 1

test_no_cap if count(found(inputs.edge, {"limits": {"cpu": {"milli": 99999, "text": "99999m"}}})) == 0
