"""The example fleet, its models and the demo: used from a clone, never installed."""
