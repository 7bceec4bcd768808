"""Slack as chat room: slack_sdk posts, slack-bolt listens."""
