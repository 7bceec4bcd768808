# METADATA
# title: cohorts treated less alike than the policy allows
# description: >-
#   The version's own evaluation is judged by the rule that judges what devices measure: it refuses where the whole interval
#   lies beyond the limit and the sample is large enough. Where nothing can be said, it says so for a trial run.
# custom:
#   unblock: Train and evaluate again with cohorts, or deploy the version that was fair.
package trimtab.rules.alignment.fairness

import data.trimtab.lib

finding contains object.union(unfair(version), leniency(version)) if {
	lib.on_device
	input.alignment.fairness
	some version in input.model.versions
	not fine(version)
}

fine(version) if version.fairness.verdict == "fine"

unfair(version) := {
	"item": version.version,
	"field": lib.version_field,
	"got": concat("", [version.version, ": ", told(version)]),
	"expected": concat("", ["disparate impact of at least ", lib.text(["alignment", "fairness", "text"])]),
}

told(version) := version.fairness.text if {
	is_string(version.fairness.text)
} else := "no evaluation"

leniency(version) := {"level": "dry-run"} if {
	version.fairness.verdict == "unknown"
} else := {}
