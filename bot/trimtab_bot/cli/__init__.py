"""Commands that this room adds to `trimtab`."""
