"""Words and tables for people, made from results: nothing is decided here."""
