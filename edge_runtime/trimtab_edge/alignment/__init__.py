"""What a box knows about the fairness, accuracy and drift of its models: counts and sketches of constant size, no rows."""
