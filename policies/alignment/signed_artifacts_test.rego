package trimtab.rules.alignment.signed_artifacts_test

import data.trimtab.inputs
import data.trimtab.rules.alignment.signed_artifacts

found(base, change) := result if {
	result := signed_artifacts.finding with input as object.union(base, change)
}

test_signed if count(found(inputs.edge, {"alignment": {"signature": true}, "model": {"versions": [{"version": "2.0.0", "size": 10, "signed": true}]}})) == 0

test_unsigned if count(found(inputs.edge, {"alignment": {"signature": true}, "model": {"versions": [{"version": "2.0.0", "size": 10, "signed": false}]}})) == 1
