package trimtab.rules.alignment.jurisdiction_test

import data.trimtab.inputs
import data.trimtab.rules.alignment.jurisdiction

found(base, change) := result if {
	result := jurisdiction.finding with input as object.union(base, change)
}

test_covered if count(found(inputs.edge, {"alignment": {"jurisdictions": ["EU"]}})) == 0

test_not_covered if count(found(inputs.edge, {"alignment": {"jurisdictions": ["US"]}})) == 1
