"""From measured series to a rollback that a person approved, and the proof that it worked."""
