"""What models cost on devices in fact: telemetry history, as Ibis expressions, to a bill that adds up to the last digit."""
