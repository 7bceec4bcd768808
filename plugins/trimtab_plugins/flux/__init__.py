"""``trimtab flux-controller``: from a Flux source to one ExternalArtifact per device group."""
