package trimtab.rules.input.shape_test

import data.trimtab.inputs
import data.trimtab.lib
import data.trimtab.rules.input.shape

broken(change) := {found.item | some found in shape.finding with input as object.union(inputs.edge, change)}

without(key) := {found.item |
	some found in shape.finding with input as object.remove(inputs.edge, [key])
}

test_whole if {
	broken({}) == set()
	mobile := shape.finding with input as inputs.mobile
	mobile == set()
	budget := shape.finding with input as inputs.budget
	budget == set()
}

test_what_is_missing if {
	every key in ["version", "subject", "finops", "alignment", "limits", "model", "group", "tags", "cost"] {
		key in without(key)
	}
}

test_what_is_of_another_type if {
	broken({"version": 2}) == {"version"}
	broken({"as_of_day": "today"}) == {"as_of_day"}
	broken({"finops": {"caps": {"cpu": {"milli": "750m"}}}}) == {"finops"}
	broken({"finops": {"level": "off"}}) == {"finops"}
	broken({"finops": {"required_tags": [1]}}) == {"finops"}
	broken({"alignment": {"egress": {"allowed": "no"}}}) == {"alignment"}
	broken({"alignment": {"maximum_per_minute": "60"}}) == {"alignment"}
	broken({"limits": {"cpu": {"milli": -1}}}) == {"limits"}
	broken({"model": {"unused": "none"}}) == {"model"}
	broken({"model": {"versions": []}}) == {"model"}
	broken({"group": {"jurisdiction": 1}}) == {"group"}
}

test_a_policy_may_be_absent if broken({"finops": null, "alignment": null}) == set()

test_an_unknown_kind if "subject" in broken({"subject": {"kind": "Secret"}})

test_text if {
	number := lib.text(["a"]) with input as {"a": 1}
	number == "nothing"
	absent := lib.text(["a", "b"]) with input as {}
	absent == "nothing"
	lib.shown(5000000000000) == "5000000000000"
	lib.listed({"b", "a"}) == "a, b"
	names := lib.names(["x"]) with input as {"x": ["a"]}
	names == {"a"}
}
