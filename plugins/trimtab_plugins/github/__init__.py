"""GitHub: the comment and the check of a pull request. Translation only; what they say comes from `trimtab_config`."""
