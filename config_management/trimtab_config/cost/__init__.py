"""What models cost on device groups in a month of 730 hours: every figure an interval with its grade. Pure."""
