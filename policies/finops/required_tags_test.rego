package trimtab.rules.finops.required_tags_test

import data.trimtab.inputs
import data.trimtab.rules.finops.required_tags

found(base, change) := result if {
	result := required_tags.finding with input as object.union(base, change)
}

test_there if count(found(inputs.edge, {"finops": {"required_tags": ["team"]}})) == 0

test_missing if count(found(inputs.edge, {"finops": {"required_tags": ["app", "team"]}})) == 1

test_empty if count(found(inputs.edge, {"finops": {"required_tags": ["team"]}, "tags": {"team": " "}})) == 1
