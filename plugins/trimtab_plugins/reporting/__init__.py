"""The status of deployments: what a group's devices say they run, written where ``kubectl get`` and Flux and Argo CD look."""
