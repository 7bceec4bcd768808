"""What the fleet, the device and the bot must agree on: names, numbers, documents and rules. Standard library only."""
