"""``trimtab sync``: a branch of a Git repository, rendered into a folder per device group. The stand-in for Argo CD and Flux where there is no cluster."""
