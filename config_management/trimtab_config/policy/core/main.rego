# METADATA
# title: Decisions
# description: >-
#   The one entry point: a list of inputs in, for each of them all findings of all rules below data.trimtab.rules. A rule
#   is a package trimtab.rules.DOMAIN.RULE with a set "finding" of objects {field, got, expected}, and may add item (which
#   of several things is meant), arguments (text by name) and level (only to say less than the policy, or deny always).
package trimtab.main

decisions := [decision |
	some request in input.requests
	decision := answer with input as request
]

answer := {"findings": findings}

findings contains found if {
	some domain, name
	some written in data.trimtab.rules[domain][name].finding
	rule := concat(".", [domain, replace(name, "_", "-")])
	leave := excused(domain, rule, written)
	found := {
		"id": concat("", [rule, suffix(written), "@", subject]),
		"rule": rule,
		"level": level(domain, rule, written, leave),
		"field": as_text(object.get(written, "field", "")),
		"got": as_text(object.get(written, "got", "")),
		"expected": as_text(object.get(written, "expected", "")),
		"arguments": object.union(as_texts(object.get(written, "arguments", {})), leave),
	}
}

subject := concat("/", [as_text(object.get(input, ["subject", part], "?")) | some part in ["namespace", "name", "group"]])

suffix(written) := concat("", [":", item]) if {
	item := written.item
	is_string(item)
	item != ""
} else := ""

as_text(value) := value if {
	is_string(value)
} else := json.marshal(value)

as_texts(value) := {key: as_text(item) | some key, item in value}

# The rule's own word, else an exception's, else the policy's for this rule, else the policy's. Whatever else is written
# there denies.
level(domain, rule, written, leave) := known(written.level) if {
	written.level
} else := "warn" if {
	leave.owner
} else := known(object.get(input, [domain, "levels", rule], object.get(input, [domain, "level"], "deny")))

known(level) := level if {
	level in {"deny", "warn", "dry-run"}
} else := "deny"

# An exception of the domain's own policy turns a refusal into a warning that names who answers for it. Without a date
# in the input it counts until a commit removes it; with one, until its day is over. A rule that says its own level stands
# above policies, and cannot be excused.
excused(domain, rule, written) := {"owner": first.owner, "reason": first.reason, "until": first.until} if {
	not written.level
	valid := [exception |
		some exception in object.get(input, [domain, "exceptions"], [])
		exception.rule == rule
		is_string(exception.owner)
		is_string(exception.reason)
		is_string(exception.until)
		still_valid(exception)
	]
	first := valid[0]
} else := {}

still_valid(_) if not input.as_of_day

still_valid(exception) if {
	is_number(exception.until_day)
	input.as_of_day <= exception.until_day
}
