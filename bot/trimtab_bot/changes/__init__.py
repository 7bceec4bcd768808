"""The branch over time: what it asks for at a commit, which change brought a version, which state was good."""
