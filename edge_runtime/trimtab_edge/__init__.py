"""What runs on a device: the model server, the update agent and their telemetry."""
