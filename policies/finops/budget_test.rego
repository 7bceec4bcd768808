package trimtab.rules.finops.budget_test

import data.trimtab.inputs
import data.trimtab.rules.finops.budget

found(base, change) := result if {
	result := budget.finding with input as object.union(base, change)
}

test_within if count(found(inputs.edge, {"finops": {"budget": {"micro": 100, "currency": "EUR", "text": "x"}}, "cost": {"monthly": {"low_micro": 50, "value_micro": 100, "high_micro": 100, "text": "some"}}})) == 0

test_surely_beyond if count(found(inputs.edge, {"finops": {"budget": {"micro": 100, "currency": "EUR", "text": "x"}}, "cost": {"monthly": {"low_micro": 101, "value_micro": 200, "high_micro": 200, "text": "some"}}})) == 1

test_probably_beyond_warns if count(found(inputs.edge, {"finops": {"budget": {"micro": 100, "currency": "EUR", "text": "x"}}, "cost": {"monthly": {"low_micro": 50, "value_micro": 101, "high_micro": 101, "text": "some"}}})) == 1

test_of_the_fleet if count(found(inputs.budget, {})) == 0

test_of_the_fleet_beyond if count(found(inputs.budget, {"finops": {"budget": {"micro": 100, "currency": "EUR", "text": "x"}}, "cost": {"monthly": {"low_micro": 101, "value_micro": 102, "high_micro": 102, "text": "some"}}})) == 1
