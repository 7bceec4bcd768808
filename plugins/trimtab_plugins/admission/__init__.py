"""`trimtab admission-webhook`: the API server asks, and the rules that rendering asks answer."""
