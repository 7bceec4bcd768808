# METADATA
# title: updates outside the policy's window
# description: Updates in the off-peak hours cost less and disturb nobody. The window is the device's local time.
# custom:
#   unblock: Set spec.update.window to a part of the window that the message names.
package trimtab.rules.finops.update_window

import data.trimtab.lib

finding contains {
	"field": "spec.update.window",
	"got": lib.text(["update", "window", "text"]),
	"expected": concat("", ["a window within ", lib.text(["finops", "window", "text"])]),
} if {
	lib.on_cluster
	input.finops.window
	not within
}

# A window that ends where it begins is the whole day.
within if {
	is_number(input.finops.window.from)
	input.finops.window.from == input.finops.window.until
	is_number(input.update.window.from)
}

# Minutes of the day; a window may go over midnight, so both are turned until the policy's begins at 0.
within if {
	policy := input.finops.window
	own := input.update.window
	every minute in [policy.from, policy.until, own.from, own.until] {
		is_number(minute)
	}
	start := ((own.from - policy.from) + 1440) % 1440
	start + length(own) <= length(policy)
}

length(window) := 1440 if {
	window.from == window.until
} else := ((window.until - window.from) + 1440) % 1440
