# METADATA
# title: the input is not whole
# description: >-
#   A rule that finds nothing to judge says nothing, so the input itself is judged first. Whatever is missing or of another
#   type than documented denies, whatever the policies say.
# custom:
#   unblock: This is not for a manifest to mend. Report it, with the versions of compiler and bundle.
package trimtab.rules.input.shape

import data.trimtab.lib

finding contains {"item": part, "field": "", "got": concat("", ["no usable ", part]), "expected": "an input as documented", "level": "deny"} if {
	some part in {"version", "subject", "finops", "alignment", "limits", "model", "group", "tags", "cost", "as_of_day"}
	not whole(part)
}

whole("version") if input.version == 1

whole("subject") if {
	lib.on_device
	is_string(input.subject.group)
	input.subject.group != ""
	named
}

whole("subject") if {
	input.subject.kind == "FinOpsPolicy"
	input.subject.group == ""
	named
}

named if {
	is_string(input.subject.namespace)
	is_string(input.subject.name)
}

whole("finops") if input.finops == null

whole("finops") if {
	policy("finops")
	every kind, unit in {"cpu": "milli", "memory": "bytes", "gpu": "milli"} {
		absent_or_whole(["finops", "caps", kind], unit)
	}
	absent_or_whole(["finops", "ceiling"], "pico")
	absent_or_whole(["finops", "budget"], "micro")
	absent_or_whole(["finops", "update"], "bytes")
	texts(object.get(input, ["finops", "required_tags"], []))
}

whole("alignment") if input.alignment == null

whole("alignment") if {
	policy("alignment")
	every list in ["prohibited_models", "prohibited_capabilities", "approved_pipelines", "jurisdictions"] {
		texts(object.get(input, ["alignment", list], []))
	}
	every number in ["maximum_per_minute", "maximum_age_days", "refresh_days", "unused_days"] {
		natural(object.get(input, ["alignment", number], 0))
	}
	is_boolean(input.alignment.egress.allowed)
	texts(input.alignment.egress.jurisdictions)
}

texts(list) if {
	is_array(list)
	every item in list {
		is_string(item)
	}
}

policy(domain) if {
	is_string(input[domain].name)
	input[domain].level in {"deny", "warn", "dry-run"}
	is_object(object.get(input, [domain, "levels"], {}))
	is_array(object.get(input, [domain, "exceptions"], []))
}

# The object is not there at all, or it is one with a whole number under "unit".
absent_or_whole(path, _) if object.get(input, path, "absent") == "absent"

absent_or_whole(path, unit) if natural(object.get(input, array.concat(path, [unit]), "absent"))

natural(value) if {
	is_number(value)
	value >= 0
}

whole("limits") if not lib.on_cluster

whole("limits") if {
	natural(input.limits.cpu.milli)
	natural(input.limits.memory.bytes)
	absent_or_whole(["limits", "gpu"], "milli")
}

whole("model") if not lib.on_device

whole("model") if {
	is_string(input.model.name)
	input.model.name != ""
	texts(input.model.capabilities)
	unused_known
	is_array(input.model.versions)
	count(input.model.versions) > 0
	every version in input.model.versions {
		is_string(version.version)
		natural(version.size)
		is_boolean(version.signed)
	}
}

whole("group") if not lib.on_device

whole("group") if {
	is_string(input.group.jurisdiction)
	natural(input.group.devices)
}

whole("tags") if is_object(input.tags)

whole("cost") if is_object(input.cost)

whole("as_of_day") if object.get(input, "as_of_day", 0) == 0

whole("as_of_day") if natural(input.as_of_day)

unused_known if not lib.on_cluster

unused_known if {
	is_array(input.model.unused)
	every version in input.model.unused {
		is_string(version.version)
	}
}
