"""What people say on pull requests: commands in comments, reviews, webhooks that wake, checks, and linked accounts."""
