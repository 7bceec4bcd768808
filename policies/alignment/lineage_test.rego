package trimtab.rules.alignment.lineage_test

import data.trimtab.inputs
import data.trimtab.rules.alignment.lineage

found(base, change) := result if {
	result := lineage.finding with input as object.union(base, change)
}

test_approved if count(found(inputs.edge, {"alignment": {"approved_pipelines": ["p"]}, "model": {"versions": [{"version": "2.0.0", "size": 10, "signed": true, "pipeline": "p"}]}})) == 0

test_another if count(found(inputs.edge, {"alignment": {"approved_pipelines": ["p"]}, "model": {"versions": [{"version": "2.0.0", "size": 10, "signed": true, "pipeline": "q"}]}})) == 1

test_unknown if count(found(inputs.edge, {"alignment": {"approved_pipelines": ["p"]}, "model": {"versions": [{"version": "2.0.0", "size": 10, "signed": true}]}})) == 1
