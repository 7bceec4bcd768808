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
	"got": got,
	"expected": concat("", ["at most ", lib.text(["finops", "budget", "text"])]),
} if {
	input.finops.budget
	not affordable("low_micro")
}

finding contains {
	"field": field,
	"got": got,
	"expected": concat("", ["surely at most ", lib.text(["finops", "budget", "text"])]),
	"level": "warn",
} if {
	input.finops.budget
	affordable("low_micro")
	not affordable("value_micro")
}

affordable(bound) if lib.at_most(input.cost.monthly[bound], input.finops.budget.micro)

got := concat("", [lib.text(["cost", "monthly", "text"]), " a month", where])

where := "" if {
	input.subject.kind == "FinOpsPolicy"
} else := concat("", [" in ", lib.text(["subject", "group"])])

field := "spec.budget.monthly" if {
	input.subject.kind == "FinOpsPolicy"
} else := "spec.finopsPolicyRef"
