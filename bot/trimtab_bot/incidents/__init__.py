"""Incidents: what opens one, what it rests on, how bad it is, and the course it takes."""
