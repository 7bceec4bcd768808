"""Bills of providers: read as they are delivered, joined to the fleet by tags, nothing lost on the way."""
