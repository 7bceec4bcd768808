"""The Kubernetes API: the lease that decides which replica acts, and what Argo CD and Flux say of the fleet. Translation only."""
