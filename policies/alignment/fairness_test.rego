package trimtab.rules.alignment.fairness_test

import data.trimtab.inputs
import data.trimtab.rules.alignment.fairness

found(base, change) := result if {
	result := fairness.finding with input as object.union(base, change)
}

test_fine if count(found(inputs.edge, {"alignment": {"fairness": {"minimum_sample": 10, "text": "0.8"}}, "model": {"versions": [{"version": "2.0.0", "size": 10, "signed": true, "fairness": {"verdict": "fine", "text": "x"}}]}})) == 0

test_breach if count(found(inputs.edge, {"alignment": {"fairness": {"minimum_sample": 10, "text": "0.8"}}, "model": {"versions": [{"version": "2.0.0", "size": 10, "signed": true, "fairness": {"verdict": "breach", "text": "x"}}]}})) == 1

test_unknown_is_on_trial if count(found(inputs.edge, {"alignment": {"fairness": {"minimum_sample": 10, "text": "0.8"}}, "model": {"versions": [{"version": "2.0.0", "size": 10, "signed": true, "fairness": {"verdict": "unknown", "text": "x"}}]}})) == 1

test_unknown_is_on_trial_and_says_so if {
	some found_one in found(inputs.edge, {"alignment": {"fairness": {"minimum_sample": 10, "text": "0.8"}}, "model": {"versions": [{"version": "2.0.0", "size": 10, "signed": true, "fairness": {"verdict": "unknown", "text": "x"}}]}})
	found_one.level == "dry-run"
}

test_nothing_known if count(found(inputs.edge, {"alignment": {"fairness": {"minimum_sample": 10, "text": "0.8"}}, "model": {"versions": [{"version": "2.0.0", "size": 10, "signed": true, "fairness": null}]}})) == 1
