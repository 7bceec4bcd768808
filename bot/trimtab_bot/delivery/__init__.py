"""What Argo CD and Flux say of a merged change: a port, how far it has come, and whether a commit carries it. The adapters are in ``cluster``."""
