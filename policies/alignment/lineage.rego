# METADATA
# title: version from no approved pipeline
# description: What nobody can trace back to data and code can neither be explained nor trained again.
# custom:
#   unblock: Release the version by a pipeline that the message lists, and name it in the Model (versions[].lineage.pipeline).
package trimtab.rules.alignment.lineage

import data.trimtab.lib

finding contains {
	"item": version.version,
	"field": lib.version_field,
	"got": concat("", [version.version, " from ", pipeline(version)]),
	"expected": concat("", ["one of ", lib.listed(lib.names(["alignment", "approved_pipelines"]))]),
} if {
	lib.on_cluster
	input.alignment.approved_pipelines
	some version in input.model.versions
	not approved(version)
}

approved(version) if version.pipeline in input.alignment.approved_pipelines

pipeline(version) := version.pipeline if {
	is_string(version.pipeline)
} else := "no pipeline that is known"
