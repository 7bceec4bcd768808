"""AdmissionReview, version 1: what the API server asks, and how it is answered. Pure.

Source: Kubernetes documentation, "Dynamic Admission Control".
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trimtab_config.policy.interface import PolicyLevel
from trimtab_kernel.problems import printable

if TYPE_CHECKING:
    from trimtab_config.policy.interface import Decision, PolicyFinding

API_VERSION = "admission.k8s.io/v1"
_MOST_WARNINGS = 10
_MOST_WARNING = 250  # the API server cuts longer ones
_MOST_MESSAGE = 4000
_MOST_UID = 128


class ReviewError(ValueError):
    """The body is no AdmissionReview of version 1; the message says why."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: ``uid`` goes back with the answer; ``item`` is the object as it would be, None where it goes away."""

    uid: str
    kind: str
    item: dict[str, Any] | None


def question_of(body: bytes) -> Question:
    """Reads a review. Raises ReviewError."""
    try:
        review = json.loads(body)
        if review["apiVersion"] != API_VERSION or review["kind"] != "AdmissionReview":
            raise ReviewError(f"expected AdmissionReview of {API_VERSION}")
        request = review["request"]
        uid, kind, item = request["uid"], request["kind"]["kind"], request.get("object")
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ReviewError(str(error) if isinstance(error, ReviewError) else "expected an AdmissionReview") from None
    if not isinstance(uid, str) or not 0 < len(uid) <= _MOST_UID or not isinstance(kind, str):
        raise ReviewError("expected a uid and a kind")
    if item is not None and not isinstance(item, dict):
        raise ReviewError("expected an object")
    return Question(uid, kind, item)


def answer(question: Question, decision: Decision, digest: str) -> dict[str, Any]:
    """The review that goes back: refusals as the message, warnings as warnings, the rest for the audit log alone.

    ``digest`` is that of the rules which decided.
    """
    by_level: dict[PolicyLevel, list[PolicyFinding]] = {level: [] for level in PolicyLevel}
    for finding in decision.findings:
        by_level[finding.level].append(finding)
    response: dict[str, Any] = {"uid": question.uid, "allowed": decision.allowed}
    notes = {"policies": digest[:12]}
    for level, found in by_level.items():
        if found:
            notes[level.value] = printable(",".join(item.id for item in found), _MOST_MESSAGE)
    response["auditAnnotations"] = notes
    if not decision.allowed:
        message = "; ".join(map(_line, by_level[PolicyLevel.DENY]))
        response["status"] = {"code": 403, "reason": "Forbidden", "message": printable(message, _MOST_MESSAGE)}
    warned = [printable(_line(item), _MOST_WARNING) for item in by_level[PolicyLevel.WARN]]
    if warned:
        response["warnings"] = warned[:_MOST_WARNINGS]
    return {"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response}


def unanswered(question: Question, reason: str, *, allowed: bool) -> dict[str, Any]:
    """The review that goes back where there is no decision: a refusal, or consent with a warning."""
    text = f"engine.failed: {reason}"
    response: dict[str, Any] = {"uid": question.uid, "allowed": allowed, "auditAnnotations": {"undecided": text}}
    if allowed:
        response["warnings"] = [printable(f"not judged by policy: {reason}", _MOST_WARNING)]
    else:
        response["status"] = {"code": 500, "reason": "InternalError", "message": text}
    return {"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response}


def _line(finding: PolicyFinding) -> str:
    return f"{finding.id}: got {finding.got}, expected {finding.expected}"
