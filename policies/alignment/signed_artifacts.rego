# METADATA
# title: artifact without a signature
# description: A digest says that bytes are the same as before; only a signature says who answers for them.
# custom:
#   unblock: Sign the variant and name the signature in the Model (versions[].variants[].signature).
package trimtab.rules.alignment.signed_artifacts

import data.trimtab.lib

finding contains {
	"item": version.version,
	"field": lib.version_field,
	"got": concat("", [version.version, " without a signature"]),
	"expected": "a signed artifact",
} if {
	lib.on_device
	input.alignment.signature
	some version in input.model.versions
	not signed(version)
}

signed(version) if version.signed == true
