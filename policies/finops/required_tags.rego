# METADATA
# title: a tag is missing
# description: What carries no tag is nobody's on the bill. The policy says which tags everything must carry.
# custom:
#   unblock: Add the tag to spec.tags.
package trimtab.rules.finops.required_tags

import data.trimtab.lib

finding contains {
	"item": tag,
	"field": concat(".", ["spec.tags", tag]),
	"got": "no such tag",
	"expected": concat("", ["the tag ", tag]),
} if {
	lib.on_device
	some tag in input.finops.required_tags
	not tagged(tag)
}

tagged(tag) if {
	is_string(input.tags[tag])
	trim_space(input.tags[tag]) != ""
}
