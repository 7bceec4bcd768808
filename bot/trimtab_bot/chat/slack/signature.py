"""Is a request Slack's? The signature over the raw body, and how old it is. Pure.

``v0=`` and the HMAC-SHA256 of ``v0:TIMESTAMP:BODY`` under the app's signing secret
(https://docs.slack.dev/authentication/verifying-requests-from-slack). What is older than five minutes is refused; what is younger
and comes twice is found by its own id.
"""

from __future__ import annotations

import hashlib
import hmac

WINDOW = 300.0
"""Seconds, either way."""


def objection(secret: str, timestamp: str, signature: str, body: bytes, at: float) -> str:
    """Why the request is not heard; "" where it is Slack's. ``at`` is Unix seconds."""
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        return "B470 the request has no time of its signature"
    if abs(at - int(timestamp)) > WINDOW:
        return "B470 the request was signed more than five minutes ago, or in the future"
    wanted = hmac.new(secret.encode(), f"v0:{timestamp}:".encode() + body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(f"v0={wanted}".encode(), signature.encode()):
        return "B471 the request is not signed with the app's secret"
    return ""
