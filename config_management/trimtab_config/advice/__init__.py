"""What would cost less, as patches that are ready to be applied. Pure."""
