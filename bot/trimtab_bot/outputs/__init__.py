"""Incidents told to alert receivers: Alertmanager, and whatever takes PagerDuty's events."""
