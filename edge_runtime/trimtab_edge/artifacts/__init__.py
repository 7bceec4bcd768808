"""Where a model's bytes come from: by digest from a store, else from where the release says."""
