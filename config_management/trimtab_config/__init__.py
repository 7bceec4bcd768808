"""The compiler of a fleet: documents in Git to manifests, reports and costs, and the `trimtab` command."""
