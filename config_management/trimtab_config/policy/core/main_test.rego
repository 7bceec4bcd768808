package trimtab.main_test

import data.trimtab.inputs
import data.trimtab.main

one(request) := found if {
	[answer] := main.decisions with input as {"requests": [request]}
	found := answer.findings
}

capped := object.union(inputs.edge, {"finops": {"caps": {"cpu": {"milli": 1, "text": "1m"}}}})

test_an_input_that_is_whole_is_allowed if {
	one(inputs.edge) == set()
	one(inputs.mobile) == set()
	one(inputs.budget) == set()
}

test_one_answer_for_each_request_in_order if {
	answers := main.decisions with input as {"requests": [inputs.edge, capped, inputs.edge]}
	[0, 1, 0] == [count(answer.findings) | some answer in answers]
}

test_a_finding_says_what_where_and_how_bad if {
	some found in one(capped)
	found.id == "finops.cpu-cap@fleet/counting/cameras"
	found.rule == "finops.cpu-cap"
	found.level == "deny"
	found.field == "spec.resourceLimits.cpu"
	found.expected == "at most 1m"
}

levels(change) := {found.level | some found in one(object.union(capped, change))}

test_levels if {
	levels({"finops": {"level": "warn"}}) == {"warn"}
	levels({"finops": {"level": "dry-run"}}) == {"dry-run"}
	levels({"finops": {"levels": {"finops.cpu-cap": "warn"}}}) == {"warn"}
	levels({"finops": {"levels": {"finops.gpu-cap": "warn"}}}) == {"deny"}
}

test_a_level_that_is_none_denies if {
	levels({"finops": {"levels": {"finops.cpu-cap": "off"}}}) == {"deny"}
	"deny" in levels({"finops": {"level": "off"}})
	levels({"finops": {"level": []}}) == {"deny"}
}

exception := {"rule": "finops.cpu-cap", "owner": "a", "reason": "b", "until": "2026-01-01", "until_day": 100}

excused(change) := levels(object.union({"finops": {"exceptions": [exception]}}, change))

test_exceptions_warn_until_their_day_is_over if {
	excused({}) == {"warn"}
	excused({"as_of_day": 100}) == {"warn"}
	excused({"as_of_day": 101}) == {"deny"}
}

test_an_exception_without_an_owner_is_none if {
	levels({"finops": {"exceptions": [{"rule": "finops.cpu-cap", "reason": "b", "until": "c"}]}}) == {"deny"}
}

test_what_a_rule_says_may_be_any_value if {
	main.as_text(1) == "1"
	main.as_texts({"a": [1], "b": "c"}) == {"a": "[1]", "b": "c"}
	main.suffix({"item": "x"}) == ":x"
}
