"""The kinds that people write, and how their text is read."""
