"""What a device tells about itself: counts kept as plain numbers, turned into Prometheus text when they are asked for."""
