"""``trimtab krm``: the compiler as a KRM function, for kustomize, kpt and whatever else speaks ResourceList."""
