"""GitHub in the name of a person, with a token that they gave: who they are, and their own review of one commit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from github import Auth, GithubException

from trimtab_config.githost.conversation import HostAccount
from trimtab_config.githost.github import connect
from trimtab_config.githost.github_reading import message_of, outside
from trimtab_kernel.problems import OutsideError, RefusedError

if TYPE_CHECKING:
    from typing import Any

_GONE = 401
_REFUSED = (403, 404, 422)


class TokenGoneError(OutsideError):
    """GitHub no longer takes the token: it was revoked, or has ended."""


class GitHubPerson:
    """One client with one token; end it with :meth:`close`."""

    def __init__(self, base_url: str, token: str) -> None:
        self._client = connect(base_url, Auth.Token(token), 0)

    def close(self) -> None:
        """Lets go of its connections."""
        self._client.close()

    def account(self) -> HostAccount:
        """Whose token it is. Raises TokenGoneError and OutsideError."""
        found = self._ask("cannot ask GitHub whose token it is", "GET", "/user", None)
        number, login = found.get("id"), found.get("login")
        if type(number) is not int or not isinstance(login, str) or found.get("type") != "User":
            raise OutsideError("GitHub does not say which person's token it is; try again")
        return HostAccount(number, login)

    def approve(self, repository: str, number: int, commit: str, body: str) -> int:
        """An approving review of exactly ``commit``; gives its id. The caller looks first whether there is one.

        Raises RefusedError (B491) where GitHub does not take it, TokenGoneError and OutsideError.
        """
        given = {"commit_id": commit, "event": "APPROVE", "body": body}
        what = f"cannot review pull request {number}"
        found = self._ask(what, "POST", f"/repos/{repository}/pulls/{number}/reviews", given)
        review, of, state = found.get("id"), found.get("commit_id"), found.get("state")
        if type(review) is not int or of != commit or state != "APPROVED":
            raise OutsideError(f"{what}: GitHub's answer is about something else; try again")
        return review

    def dismiss(self, repository: str, number: int, review: int, why: str) -> None:
        """Dismiss the person's own review. Raises RefusedError (B491), TokenGoneError and OutsideError."""
        path = f"/repos/{repository}/pulls/{number}/reviews/{review}/dismissals"
        self._ask(
            f"cannot dismiss a review of pull request {number}", "PUT", path, {"message": why, "event": "DISMISS"}
        )

    def _ask(self, what: str, method: str, path: str, given: dict[str, str] | None) -> dict[str, Any]:
        with outside(what):
            try:
                _, found = self._client.requester.requestJsonAndCheck(method, path, input=given)
            except GithubException as error:
                limited = {str(key).lower() for key in error.headers or {}} & {"retry-after"}
                if error.status == _GONE:
                    raise TokenGoneError("GitHub no longer takes the token") from None
                if given is not None and error.status in _REFUSED and not limited:
                    raise RefusedError("B491", f"GitHub answered {error.status}: {message_of(error)}") from None
                raise
        return found if isinstance(found, dict) else {}
