"""FOCUS files out of charges: what estimates, bills and allocations come to, in the columns that finance tools read."""
