package trimtab.rules.finops.update_window_test

import data.trimtab.inputs
import data.trimtab.rules.finops.update_window

found(base, change) := result if {
	result := update_window.finding with input as object.union(base, change)
}

test_within if count(found(inputs.edge, {"finops": {"window": {"from": 60, "until": 300, "text": "policy"}}, "update": {"window": {"from": 60, "until": 300, "text": "own"}}})) == 0

test_over_midnight if count(found(inputs.edge, {"finops": {"window": {"from": 1320, "until": 300, "text": "policy"}}, "update": {"window": {"from": 1380, "until": 60, "text": "own"}}})) == 0

test_outside if count(found(inputs.edge, {"finops": {"window": {"from": 60, "until": 300, "text": "policy"}}, "update": {"window": {"from": 59, "until": 300, "text": "own"}}})) == 1

test_whole_day if count(found(inputs.edge, {"finops": {"window": {"from": 0, "until": 0, "text": "policy"}}, "update": {"window": {"from": 100, "until": 100, "text": "own"}}})) == 0

test_none if count(found(inputs.mobile, {})) == 0
