"""Device groups told to Argo CD and to flux-operator over HTTP, so that each becomes an Application or an input."""
