package trimtab.rules.alignment.unused_versions_test

import data.trimtab.inputs
import data.trimtab.rules.alignment.unused_versions

found(base, change) := result if {
	result := unused_versions.finding with input as object.union(base, change)
}

test_young if count(found(inputs.edge, {"alignment": {"unused_days": 10}, "as_of_day": 100, "model": {"unused": [{"version": "1", "released_day": 90, "released": "d"}]}})) == 0

test_old if count(found(inputs.edge, {"alignment": {"unused_days": 10}, "as_of_day": 100, "model": {"unused": [{"version": "1", "released_day": 89, "released": "d"}]}})) == 1

test_unknown if count(found(inputs.edge, {"alignment": {"unused_days": 10}, "as_of_day": 100, "model": {"unused": [{"version": "1"}]}})) == 1
