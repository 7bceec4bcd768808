"""A person's own account on GitHub: linked by logging in there, and used for that person's own reviews."""
