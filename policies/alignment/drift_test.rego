package trimtab.rules.alignment.drift_test

import data.trimtab.inputs
import data.trimtab.rules.alignment.drift

found(base, change) := result if {
	result := drift.finding with input as object.union(base, change)
}

test_fine if count(found(inputs.edge, {"alignment": {"drift": {"minimum_sample": 10, "text": "0.2"}}, "model": {"versions": [{"version": "2.0.0", "size": 10, "signed": true, "drift": {"verdict": "fine", "text": "x"}}]}})) == 0

test_breach if count(found(inputs.edge, {"alignment": {"drift": {"minimum_sample": 10, "text": "0.2"}}, "model": {"versions": [{"version": "2.0.0", "size": 10, "signed": true, "drift": {"verdict": "breach", "text": "x"}}]}})) == 1

test_nothing_known if count(found(inputs.edge, {"alignment": {"drift": {"minimum_sample": 10, "text": "0.2"}}, "model": {"versions": [{"version": "2.0.0", "size": 10, "signed": true, "drift": null}]}})) == 1

test_unknown_is_on_trial if {
	some one in found(inputs.edge, {"alignment": {"drift": {"minimum_sample": 10, "text": "0.2"}}, "model": {"versions": [{"version": "2.0.0", "size": 10, "signed": true, "drift": {"verdict": "unknown", "text": "x"}}]}})
	one.level == "dry-run"
}

test_no_limit if count(found(inputs.edge, {})) == 0
