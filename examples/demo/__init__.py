"""The demo: the whole loop on loopback, narrated."""
