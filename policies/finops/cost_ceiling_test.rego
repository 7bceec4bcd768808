package trimtab.rules.finops.cost_ceiling_test

import data.trimtab.inputs
import data.trimtab.rules.finops.cost_ceiling

found(base, change) := result if {
	result := cost_ceiling.finding with input as object.union(base, change)
}

test_within if count(found(inputs.edge, {"finops": {"ceiling": {"pico": 100, "currency": "EUR", "text": "100 pEUR"}}, "model": {"versions": [{"version": "2.0.0", "per_1k": {"value_pico": 50, "low_pico": 50, "high_pico": 100, "currency": "EUR", "text": "some"}, "size": 1, "signed": true}]}})) == 0

test_surely_beyond if count(found(inputs.edge, {"finops": {"ceiling": {"pico": 100, "currency": "EUR", "text": "100 pEUR"}}, "model": {"versions": [{"version": "2.0.0", "per_1k": {"value_pico": 101, "low_pico": 101, "high_pico": 200, "currency": "EUR", "text": "some"}, "size": 1, "signed": true}]}})) == 1

test_perhaps_beyond_is_on_trial if count(found(inputs.edge, {"finops": {"ceiling": {"pico": 100, "currency": "EUR", "text": "100 pEUR"}}, "model": {"versions": [{"version": "2.0.0", "per_1k": {"value_pico": 50, "low_pico": 50, "high_pico": 101, "currency": "EUR", "text": "some"}, "size": 1, "signed": true}]}})) == 1

test_perhaps_beyond_is_on_trial_and_says_so if {
	some found_one in found(inputs.edge, {"finops": {"ceiling": {"pico": 100, "currency": "EUR", "text": "100 pEUR"}}, "model": {"versions": [{"version": "2.0.0", "per_1k": {"value_pico": 50, "low_pico": 50, "high_pico": 101, "currency": "EUR", "text": "some"}, "size": 1, "signed": true}]}})
	found_one.level == "dry-run"
}

test_unknown_is_on_trial if count(found(inputs.edge, {"finops": {"ceiling": {"pico": 100, "currency": "EUR", "text": "100 pEUR"}}, "model": {"versions": [{"version": "2.0.0", "per_1k": null, "size": 1, "signed": true}]}})) == 1

test_unknown_is_on_trial_and_says_so if {
	some found_one in found(inputs.edge, {"finops": {"ceiling": {"pico": 100, "currency": "EUR", "text": "100 pEUR"}}, "model": {"versions": [{"version": "2.0.0", "per_1k": null, "size": 1, "signed": true}]}})
	found_one.level == "dry-run"
}

test_another_currency if count(found(inputs.edge, {"finops": {"ceiling": {"pico": 100, "currency": "EUR", "text": "100 pEUR"}}, "model": {"versions": [{"version": "2.0.0", "per_1k": {"value_pico": 1, "low_pico": 1, "high_pico": 2, "currency": "USD", "text": "some"}, "size": 1, "signed": true}]}})) == 1
