"""Restoring objects of a fleet to what they were at an earlier commit, one by one, without touching the others. Pure."""
