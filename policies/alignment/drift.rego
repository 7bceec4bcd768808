# METADATA
# title: drifted further than the policy allows
# description: >-
#   A version that was evaluated on rows unlike those it learned from answers questions that nobody taught it. It is refused
#   where the whole interval of the drift lies beyond the limit and the sample is large enough. Where nothing can be said,
#   it says so for a trial run.
# custom:
#   unblock: Train on newer data and evaluate again, or deploy a version that has not drifted.
package trimtab.rules.alignment.drift

import data.trimtab.lib

finding contains object.union(drifted(version), leniency(version)) if {
	lib.on_device
	input.alignment.drift
	some version in input.model.versions
	not fine(version)
}

fine(version) if version.drift.verdict == "fine"

drifted(version) := {
	"item": version.version,
	"field": lib.version_field,
	"got": concat("", [version.version, ": ", told(version)]),
	"expected": concat("", ["drift of at most ", lib.text(["alignment", "drift", "text"]), " PSI"]),
}

told(version) := version.drift.text if {
	is_string(version.drift.text)
} else := "no evaluation"

leniency(version) := {"level": "dry-run"} if {
	version.drift.verdict == "unknown"
} else := {}
