package trimtab.rules.finops.baseline_cpu_test

import data.trimtab.inputs
import data.trimtab.rules.finops.baseline_cpu

found(base, change) := result if {
	result := baseline_cpu.finding with input as object.union(base, change)
}

test_within if count(found(inputs.edge, {"finops": {"name": "finops-policy-emea-high-priority"}, "limits": {"cpu": {"milli": 750, "text": "750m"}}})) == 0

test_beyond if count(found(inputs.edge, {"finops": {"name": "finops-policy-emea-high-priority"}, "limits": {"cpu": {"milli": 751, "text": "751m"}}})) == 1
