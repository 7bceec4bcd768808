"""The record of what was known, decided and done: append only, each entry linked to the one before by its hash."""
