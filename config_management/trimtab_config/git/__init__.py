"""Git: identities, objects and refs as values, and one adapter over the git binary (:mod:`.repository`)."""
