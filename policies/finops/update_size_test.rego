package trimtab.rules.finops.update_size_test

import data.trimtab.inputs
import data.trimtab.rules.finops.update_size

found(base, change) := result if {
	result := update_size.finding with input as object.union(base, change)
}

test_within if count(found(inputs.edge, {"finops": {"update": {"bytes": 10, "text": "10"}}, "model": {"versions": [{"version": "2.0.0", "size": 10, "signed": true}]}})) == 0

test_beyond if count(found(inputs.edge, {"finops": {"update": {"bytes": 9, "text": "9"}}, "model": {"versions": [{"version": "2.0.0", "size": 10, "signed": true}]}})) == 1
