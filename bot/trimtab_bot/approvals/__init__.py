"""Who may let a proposal through, and what exactly they let through."""
