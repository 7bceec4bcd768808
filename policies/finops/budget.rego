# METADATA
# title: a month dearer than the budget
# description: >-
#   The budget is for all that refers to the policy. It refuses where the whole interval of the month's cost lies above it,
#   whether of one deployment in one group or of all together; where only a part does, it warns.
# custom:
#   unblock: Lower limits or frequency, deploy to fewer groups, or ask the owner of the FinOpsPolicy for another budget.
package trimtab.rules.finops.budget

import data.trimtab.lib

finding contains {
	"field": field,
	"got": concat("", [lib.text(["cost", "monthly", "text"]), " a month"]),
	"expected": concat("", ["at most ", lib.text(["finops", "budget", "text"])]),
} if {
	input.finops.budget
	not lib.at_most(input.cost.monthly.low_micro, input.finops.budget.micro)
}

finding contains {
	"field": field,
	"got": concat("", [lib.text(["cost", "monthly", "text"]), " a month"]),
	"expected": concat("", ["surely at most ", lib.text(["finops", "budget", "text"])]),
	"level": "warn",
} if {
	input.finops.budget
	lib.at_most(input.cost.monthly.low_micro, input.finops.budget.micro)
	not lib.at_most(input.cost.monthly.value_micro, input.finops.budget.micro)
}

field := "spec.budget.monthly" if {
	input.subject.kind == "FinOpsPolicy"
} else := "spec.finopsPolicyRef"
