"""What the bot remembers: incidents, proposals, verified states, and what is still to be written to the ledger."""
