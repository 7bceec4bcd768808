package trimtab.rules.alignment.refresh_cycle_test

import data.trimtab.inputs
import data.trimtab.rules.alignment.refresh_cycle

found(base, change) := result if {
	result := refresh_cycle.finding with input as object.union(base, change)
}

test_fresh if count(found(inputs.edge, {"alignment": {"refresh_days": 10}, "as_of_day": 100, "model": {"newest_day": 90}})) == 0

test_stale if count(found(inputs.edge, {"alignment": {"refresh_days": 10}, "as_of_day": 100, "model": {"newest_day": 89}})) == 1

test_unknown if count(found(inputs.edge, {"alignment": {"refresh_days": 10}, "as_of_day": 100, "model": {"newest_day": null, "newest": null}})) == 1
