"""The built-in inbox: proposals as a web page and as a JSON API, for people who have a token."""
