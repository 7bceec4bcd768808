"""A GitHub of a test's own: the REST API over a real bare repository, on loopback, for the unmodified PyGithub.

It keeps state (pull requests, comments, checks, statuses, reviews), judges tokens, pages its lists, and can misbehave:
answers 429, 502 or a secondary limit before or after a write is done, drops connections, and delays ``mergeable``.
"""

from __future__ import annotations

from tests.rigs.github.server import App, Fault, GitHubRig, Hook, User, github

__all__ = ["App", "Fault", "GitHubRig", "Hook", "User", "github"]
