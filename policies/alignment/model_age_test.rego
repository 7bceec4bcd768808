package trimtab.rules.alignment.model_age_test

import data.trimtab.inputs
import data.trimtab.rules.alignment.model_age

found(base, change) := result if {
	result := model_age.finding with input as object.union(base, change)
}

test_young if count(found(inputs.edge, {"alignment": {"maximum_age_days": 10}, "as_of_day": 100, "model": {"versions": [{"version": "2.0.0", "size": 10, "signed": true, "released_day": 90, "released": "a day"}]}})) == 0

test_old if count(found(inputs.edge, {"alignment": {"maximum_age_days": 10}, "as_of_day": 100, "model": {"versions": [{"version": "2.0.0", "size": 10, "signed": true, "released_day": 89, "released": "a day"}]}})) == 1

test_unknown if count(found(inputs.edge, {"alignment": {"maximum_age_days": 10}, "as_of_day": 100, "model": {"versions": [{"version": "2.0.0", "size": 10, "signed": true}]}})) == 1
