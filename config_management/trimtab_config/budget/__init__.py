"""Budgets, forecasts with calibrated intervals, capacity: what will be spent and used, or honestly unknown."""
