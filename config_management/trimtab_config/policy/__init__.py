"""Deciding by policy: inputs made of plans and prices, engines that judge them by Rego, findings as problems."""
