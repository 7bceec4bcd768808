"""``trimtab artifact``: the manifests of a device group as one OCI artifact that Flux and Argo CD both read."""
