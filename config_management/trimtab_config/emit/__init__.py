"""Text of rendered objects: one YAML stream for people and host tools, canonical JSON for comparison."""
