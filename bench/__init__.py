"""What is measured: one module a bench, run by `python bench NAME`."""
