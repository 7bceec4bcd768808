"""The plan of a rollout over a million devices: how many each wave reaches, from the list of their ids.

`trimtab rollout` reads the fleet and the list as a user runs it. The peer asks the device's own question
(`trimtab_kernel.waves.is_member`) for every device and wave, as a script beside the fleet would; both must find the same.
CPU seconds and peak memory of whole processes are judged.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.processes import Run, measured, middle

CPU_BUDGET = 2.0
"""Seconds for 1,000,000 devices."""
MEMORY_BUDGET = 100.0
"""MB (10^6 bytes)."""
_FLEET = Path(__file__).resolve().parents[1] / "examples/fleet"
_GROUPS = ("gateway-amer", "gateway-andes", "gateway-emea")
_PEER = """\
import json, sys
from fractions import Fraction
from trimtab_kernel.waves import default_salt, is_member
salt = default_salt("clinics", "triage-gateways", "EdgeAIDeployment")
waves = json.loads(sys.argv[2])
counts = [0] * len(waves)
for line in open(sys.argv[1]):
    device, group = line.rstrip().split(",")
    for place, shares in enumerate(waves):
        counts[place] += is_member(salt, device, Fraction(shares[group]))
print(json.dumps(counts))
"""


def main(argv: list[str] | None = None) -> int:
    """Measures and prints; the exit code is 1 where a budget is missed or the two disagree."""
    parser = argparse.ArgumentParser(prog="bench plan", description=__doc__)
    parser.add_argument("--devices", type=int, default=1_000_000, metavar="N", help="devices (default: 1,000,000)")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="runs of each (default: 3)")
    arguments = parser.parse_args(argv)
    ours: list[Run] = []
    theirs: list[Run] = []
    waves: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="trimtab-plan-") as folder:
        listed = Path(folder, "devices.csv")
        with listed.open("w") as file:
            file.writelines(f"device-{index:08d},{_GROUPS[index % 3]}\n" for index in range(arguments.devices))
        trimtab = str(Path(sys.executable).with_name("trimtab"))
        for _ in range(arguments.runs):
            run, text = measured([trimtab, "rollout", str(_FLEET), "--devices", str(listed), "--output", "json"])
            ours.append(run)
            [rollout] = json.loads(text)["rollouts"]
            waves = rollout["waves"]
            shares = [_shares(wave["groups"], arguments.devices) for wave in waves]
            run, text = measured([sys.executable, "-c", _PEER, str(listed), json.dumps(shares)])
            theirs.append(run)
            if json.loads(text) != [wave["devices"] for wave in waves]:
                sys.exit(f"bench: the two disagree: {text.strip()} and {[wave['devices'] for wave in waves]}")
    own, peer = middle(ours), middle(theirs)
    reached = ", ".join(f"{wave['name']} {wave['devices']:,}" for wave in waves)
    print(f"{arguments.devices:,} devices, {len(waves)} waves: {reached}")
    print(f"{'':<28}{'CPU s':>8}{'clock s':>9}{'MB':>7}")
    for label, run in (("trimtab rollout", own), ("is_member, wave by wave", peer)):
        print(f"{label:<28}{run.cpu:>8.2f}{run.wall:>9.2f}{run.memory:>7.0f}")
    print(f"the peer takes {peer.cpu / own.cpu:.1f} times as much CPU")
    judged = own.cpu <= CPU_BUDGET and own.memory <= MEMORY_BUDGET
    print(f"budgets ({CPU_BUDGET:g} s of CPU, {MEMORY_BUDGET:g} MB): {'within' if judged else 'BEYOND'}")
    return 0 if judged else 1


def _shares(reached: dict[str, int], devices: int) -> dict[str, str]:
    """The percentages that stand in examples/fleet, told apart by how many of a group's devices a wave reaches."""
    found = {}
    for name, count in reached.items():
        place = _GROUPS.index(name)
        whole = (devices - place + 2) // 3
        found[name] = "100" if count == whole else "0" if count == 0 else "10"
    return found


if __name__ == "__main__":
    sys.exit(main())
