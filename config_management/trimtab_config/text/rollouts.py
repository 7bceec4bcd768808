"""The waves of rollouts in numbers of devices, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trimtab_config.plan.census import RolloutCount


def counts_text(counts: Sequence[RolloutCount]) -> str:
    """A block for each rollout: its waves, the current one marked, and what advancing would reach."""
    if not counts:
        return "No deployment of this fleet rolls out in waves.\n"
    lines: list[str] = []
    for count in counts:
        state = ", paused" if count.paused else ""
        devices = f"{count.devices:,} listed devices{state}"
        lines.append(f"{count.namespace}/{count.name}: {count.model} {count.version}, {devices}")
        for wave in count.waves:
            mark = ">" if wave.name == count.current else " "
            lines.append(f"  {mark} {wave.name:<24} reaches {wave.devices:>11,}, {wave.new:,} of them new")
        following = count.next
        if following is None:
            lines.append("    it stands at its last wave")
        else:
            lines.append(
                f"    advancing to {following.name} reaches {following.devices - count.reached:,} more devices"
            )
    return "\n".join(lines) + "\n"
