"""Where fleet files come from."""
