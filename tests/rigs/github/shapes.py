"""The parts of GitHub's answers that say little and that its published description demands all the same."""

from __future__ import annotations

from typing import Any, TypeAlias

Json: TypeAlias = Any
LONG_AGO = "2026-01-01T00:00:00Z"
_ACCOUNT_URLS = (
    "followers",
    "following",
    "gists",
    "starred",
    "subscriptions",
    "organizations",
    "repos",
    "events",
    "received_events",
)
_REPOSITORY_URLS = (
    "archive", "assignees", "blobs", "branches", "collaborators", "comments", "commits", "compare", "contents", "contributors",
    "deployments", "downloads", "events", "forks", "git_commits", "git_refs", "git_tags", "hooks", "issue_comment", "issue_events",
    "issues", "keys", "labels", "languages", "merges", "milestones", "notifications", "pulls", "releases", "stargazers", "statuses",
    "subscribers", "subscription", "tags", "teams", "trees",
)  # fmt: skip
_COUNTS = (
    "forks", "forks_count", "network_count", "open_issues", "open_issues_count", "size", "stargazers_count", "subscribers_count",
    "watchers", "watchers_count",
)  # fmt: skip
_SWITCHES = (
    "archived", "disabled", "fork", "has_discussions", "has_downloads", "has_issues", "has_pages", "has_projects", "has_wiki",
)  # fmt: skip


def account(api: str, site: str, login: str, number: int, kind: str) -> Json:
    """An account; ``api`` and ``site`` are where addresses begin."""
    url = f"{api}/users/{login}"
    return {
        "login": login,
        "id": number,
        "node_id": f"U_{number}",
        "type": kind,
        "site_admin": False,
        "avatar_url": f"{site}/avatars/{number}",
        "gravatar_id": "",
        "url": url,
        "html_url": f"{site}/{login}",
        **{f"{name}_url": f"{url}/{name}" for name in _ACCOUNT_URLS},
    }


def own_account(given: Json) -> Json:
    """An account as it sees itself."""
    nothing = dict.fromkeys(("name", "company", "blog", "location", "email", "hireable", "bio"))
    counts = dict.fromkeys(
        (
            *("public_repos", "public_gists", "followers", "following", "private_gists", "total_private_repos"),
            *("owned_private_repos", "disk_usage", "collaborators"),
        ),
        0,
    )
    more = {"two_factor_authentication": True, "created_at": LONG_AGO, "updated_at": LONG_AGO}
    return {**given, **nothing, "blog": "", **counts, **more}


def repository(api: str, site: str, name: str, owner: Json) -> Json:
    """A repository."""
    url = f"{api}/repos/{name}"
    return {
        "id": 1,
        "node_id": "R_1",
        "name": name.partition("/")[2],
        "full_name": name,
        "owner": owner,
        "private": True,
        "html_url": f"{site}/{name}",
        "url": url,
        **{f"{each}_url": f"{url}/{each}" for each in _REPOSITORY_URLS},
        **dict.fromkeys(_COUNTS, 0),
        **dict.fromkeys(_SWITCHES, False),
        **dict.fromkeys(("description", "homepage", "language", "license", "mirror_url")),
        "clone_url": f"{site}/{name}.git",
        "git_url": f"git://{site.partition('://')[2]}/{name}.git",
        "ssh_url": f"git@{site.partition('://')[2]}:{name}.git",
        "svn_url": f"{site}/{name}",
        "default_branch": "main",
        "created_at": LONG_AGO,
        "updated_at": LONG_AGO,
        "pushed_at": LONG_AGO,
    }
