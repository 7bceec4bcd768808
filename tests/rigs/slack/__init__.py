"""A Slack of a test's own: the web API and Socket Mode on loopback, for the unmodified slack_sdk and slack-bolt.

It keeps channels, messages with metadata, and people; presses buttons, submits modals and types commands for them; sends
envelopes twice, forgets answers, asks for patience, and closes connections.
"""

from __future__ import annotations

from tests.rigs.slack.server import Fault, SlackRig, slack

__all__ = ["Fault", "SlackRig", "slack"]
