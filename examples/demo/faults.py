"""The two bad releases that the demo can merge."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One bad release: which deployment Bo moves, what is wrong with it, and which finding must name it."""

    model: str
    file: str
    deployment: str
    good: str
    bad: str
    subject: str
    concern: str
    story: str


FAULTS = {
    "fairness": Fault(
        model="triage",
        file="deployments/triage.yaml",
        deployment="triage-kiosks",
        good="1.1.0",
        bad="1.2.0",
        subject="Triage 1.2.0 on the kiosks",
        concern="fairness",
        story="triage 1.2.0 was trained on records in which one sex was referred far less often; its own tests look fine",
    ),
    "cost": Fault(
        model="digits",
        file="deployments/digits.yaml",
        deployment="digits-kiosks",
        good="2.1.0",
        bad="2.2.0",
        subject="Digits 2.2.0 on the kiosks",
        concern="cost",
        story="digits 2.2.0 looks at many shifted copies of every image: a little more accurate, many times the CPU",
    ),
}
