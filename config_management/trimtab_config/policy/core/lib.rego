# METADATA
# title: What the rules share
# description: Comparisons that deny where something is missing or of another type, and text for messages.
package trimtab.lib

# Kinds that run on devices. A policy's own budget is judged too, and has neither model nor limits.
on_cluster if input.subject.kind == "EdgeAIDeployment"

on_device if input.subject.kind in {"EdgeAIDeployment", "OnDeviceModel"}

# Beware: in "not f(input.a.b)" a missing b makes the whole body undefined, and its finding vanish. Rules say
# "not within" of a rule "within if f(input.a.b)" instead; a test looks for the former.

# Whole numbers alone: in Rego "751m" > 750 and null < 750 are true, so types are asked first.
at_most(value, most) if {
	is_number(value)
	is_number(most)
	value <= most
}

# Text of the input, or the word "nothing": a message must never keep its finding from being made.
text(path) := found if {
	found := object.get(input, path, "nothing")
	is_string(found)
} else := "nothing"

# The field that names the model, by kind.
model_field := "spec.modelId" if {
	input.subject.kind == "OnDeviceModel"
} else := "spec.modelRef.name"

version_field := "spec.version" if {
	input.subject.kind == "OnDeviceModel"
} else := "spec.modelRef.version"

# A policy field that lists names, as a set; what is no list is no name at all, so that nothing is on it.
names(path) := {name | some name in object.get(input, path, [])}

listed(items) := concat(", ", sort(items))

# Any value as text. Not format_int: what it does not take would make a finding vanish.
shown(value) := json.marshal(value)
