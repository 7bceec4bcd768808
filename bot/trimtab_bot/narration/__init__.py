"""Words for people: what happened, what is proposed, what is fact and what is estimate."""
