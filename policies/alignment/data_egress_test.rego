package trimtab.rules.alignment.data_egress_test

import data.trimtab.inputs
import data.trimtab.rules.alignment.data_egress

found(base, change) := result if {
	result := data_egress.finding with input as object.union(base, change)
}

test_none if count(found(inputs.edge, {})) == 0

test_listed if count(found(inputs.edge, {"alignment": {"egress": {"allowed": true, "jurisdictions": ["EU"]}}, "offload": {"endpoint": "e", "jurisdiction": "EU"}})) == 0

test_not_listed if count(found(inputs.edge, {"alignment": {"egress": {"allowed": true, "jurisdictions": ["EU"]}}, "offload": {"endpoint": "e", "jurisdiction": "US"}})) == 1

test_anywhere if count(found(inputs.edge, {"alignment": {"egress": {"allowed": true, "jurisdictions": []}}, "offload": {"endpoint": "e", "jurisdiction": "US"}})) == 0

test_nowhere if count(found(inputs.edge, {"alignment": {"egress": {"allowed": false, "jurisdictions": []}}, "offload": {"endpoint": "e", "jurisdiction": "EU"}})) == 1
