"""The API: who asks, what is there, and what goes wrong today."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import re
import threading
import time
import urllib.parse
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, TypeAlias

import jwt
import requests

from tests.rigs.github.oauth import SITE, OAuth
from tests.rigs.github.objects import Commit, GitError, Objects, Person
from tests.rigs.github.shapes import account, own_account, repository
from tests.rigs.http_server import BoundedServer

Json: TypeAlias = Any
PREFIX = "/api/v3"
_MAX_BODY = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class User:
    """An account and the token by which it is known."""

    login: str
    id: int
    token: str
    kind: str = "User"


@dataclass(frozen=True, slots=True)
class App:
    """A GitHub App: the account of its robot, and the public key (PEM) that its assertions are checked with."""

    id: int
    slug: str
    installation: int
    public_key: str
    robot: User


@dataclass(slots=True)
class Fault:
    """What goes wrong for the next ``times`` requests that match: a status, or a dropped connection for status 0.

    With ``after`` the request is carried out first, so that the caller cannot know.
    """

    method: str
    path: str
    status: int
    after: bool = False
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)
    message: str = "Server Error"


@dataclass(slots=True)
class Pull:
    """A pull request."""

    number: int
    title: str
    body: str
    user: User
    base: str
    branch: str
    head: str
    created_at: str
    state: str = "open"
    draft: bool = False
    merged_at: str | None = None
    closed_at: str | None = None
    merge_commit: str | None = None
    reads: int = 0
    updated_at: str = ""


@dataclass(slots=True)
class Comment:
    """A comment on a pull request or an issue."""

    id: int
    number: int
    user: User
    body: str
    created_at: str
    updated_at: str
    through_app: bool = False


@dataclass(slots=True)
class Review:
    """A submitted review of one commit."""

    id: int
    number: int
    user: User
    state: str
    commit: str
    body: str
    submitted_at: str


@dataclass(slots=True)
class Hook:
    """Where webhooks go, and what happens to them on the way."""

    url: str
    secret: str
    copies: int = 1
    drop: int = 0
    """So many of the next deliveries are lost."""
    held: list[tuple[dict[str, str], bytes]] | None = None
    """Where it is a list, deliveries wait there until :meth:`GitHubRig.release` sends them, newest first."""
    sent: list[tuple[str, int]] = field(default_factory=list)


class _Answer(Exception):  # noqa: N818 - a way out, not an error
    """An answer that ends the request."""

    def __init__(self, status: int, content: Json) -> None:
        super().__init__(status)
        self.status = status
        self.content = content


def _no(status: int, message: str, *errors: dict[str, str]) -> _Answer:
    content: dict[str, Json] = {"message": message, "documentation_url": "https://docs.github.com/rest"}
    if errors:
        content["errors"] = list(errors)
    return _Answer(status, content)


class GitHubRig:
    """One repository ``owner/name`` on a GitHub of this process."""

    def __init__(self, path: Path, users: tuple[User, ...], repository: str = "acme/fleet") -> None:
        self.objects = Objects(path)
        self.users = {user.token: user for user in users}
        self.repository = repository
        self.faults: list[Fault] = []
        self.log: list[tuple[str, str, int]] = []
        self.pulls: dict[int, Pull] = {}
        self.comments: dict[int, Comment] = {}
        self.reviews: dict[int, Review] = {}
        self.hook: Hook | None = None
        self._trials: dict[tuple[str, str], str] = {}
        self.checks: dict[int, dict[str, Json]] = {}
        self.statuses: list[dict[str, Json]] = []
        self.protected: set[str] = set()
        self.app: App | None = None
        self.oauth = OAuth()
        self.lock = threading.RLock()
        self.address = ""
        self._next = 1000

    # ------------------------------------------------------------ for tests

    @property
    def base_url(self) -> str:
        """What PyGithub takes as ``base_url``."""
        return f"http://{self.address}{PREFIX}"

    def writes(self, path: str = "") -> list[tuple[str, str, int]]:
        """Every write that came, with the answer's status."""
        with self.lock:
            return [entry for entry in self.log if entry[0] != "GET" and re.search(path, entry[1])]

    def counted(self) -> int:
        """Requests so far that count against the rate limit: all but those that nothing had changed for."""
        with self.lock:
            return sum(1 for _, _, status in self.log if status != 304)

    def say(self, number: int, user: User, body: str, *, through_app: bool = False) -> Comment:
        """Somebody writes a comment on the page."""
        with self.lock:
            self._next += 1
            made = Comment(self._next, number, user, body, _now(), _now(), through_app)
            self.comments[self._next] = made
        self.deliver("issue_comment", {"action": "created", "issue": {"number": number}})
        return made

    def rewrite(self, comment: Comment, body: str) -> None:
        """Somebody who may edits a comment, a second later at the soonest."""
        with self.lock:
            comment.body = body
            later = datetime.fromisoformat(comment.created_at) + timedelta(seconds=5)
            comment.updated_at = later.strftime("%Y-%m-%dT%H:%M:%SZ")
        self.deliver("issue_comment", {"action": "edited", "issue": {"number": comment.number}})

    def review(self, number: int, user: User, state: str, body: str = "", commit: str = "") -> Review:
        """Somebody submits a review of the head (or of ``commit``)."""
        with self.lock:
            made = self._reviewed(number, user, state, commit or self.pulls[number].head, body)
        self.deliver("pull_request_review", {"action": "submitted", "pull_request": {"number": number}})
        return made

    def _reviewed(self, number: int, user: User, state: str, commit: str, body: str) -> Review:
        self._next += 1
        made = self.reviews[self._next] = Review(self._next, number, user, state, commit, body, _now())
        return made

    def deliver(self, event: str, payload: dict[str, Json], delivery: str = "") -> None:
        """Sends a webhook, signed over its raw body, as often and in such an order as the hook says."""
        hook = self.hook
        if hook is None:
            return
        body = json.dumps({"repository": {"full_name": self.repository}, **payload, "n": self._next}).encode()
        mac = hmac.new(hook.secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {
            "X-GitHub-Event": event,
            "X-GitHub-Delivery": delivery or str(uuid.uuid4()),
            "X-Hub-Signature-256": f"sha256={mac}",
            "Content-Type": "application/json",
            "User-Agent": "GitHub-Hookshot/rig",
        }
        if hook.drop:
            hook.drop -= 1
        elif hook.held is not None:
            hook.held.append((headers, body))
        else:
            for _ in range(hook.copies):
                self._send(hook, headers, body)

    def release(self) -> None:
        """What was held goes out, the newest first."""
        hook = self.hook
        assert hook is not None
        for headers, body in reversed(hook.held or []):
            self._send(hook, headers, body)
        hook.held = None

    def _send(self, hook: Hook, headers: dict[str, str], body: bytes) -> None:
        done = requests.post(hook.url, data=body, headers=headers, timeout=30)
        hook.sent.append((headers["X-GitHub-Delivery"], done.status_code))

    # ------------------------------------------------------------ one request

    def handle(
        self, method: str, target: str, token: str, body: bytes, etag: str = ""
    ) -> tuple[int, Json, dict[str, str]]:
        """The answer; raises ConnectionAbortedError where a fault drops the connection. ``etag`` is of If-None-Match."""
        path, _, query = target.partition("?")
        with self.lock:
            fault = next(
                (f for f in self.faults if f.times > 0 and f.method == method and re.search(f.path, path)), None
            )
            if fault is not None:
                fault.times -= 1
            status, content, headers = 0, None, dict[str, str]()
            if fault is None or fault.after:
                status, content, headers = self._route(method, path, dict(urllib.parse.parse_qsl(query)), token, body)
            if fault is not None:
                status, content, headers = fault.status, {"message": fault.message}, dict(fault.headers)
            elif method == "GET" and status == 200:
                headers["ETag"] = f'W/"{hashlib.sha256(json.dumps(content).encode()).hexdigest()}"'
                if headers["ETag"] == etag:
                    status, content = 304, None
            self.log.append((method, path, status))
        if status == 0:
            raise ConnectionAbortedError
        return status, content, headers

    def _route(
        self, method: str, path: str, query: dict[str, str], token: str, body: bytes
    ) -> tuple[int, Json, dict[str, str]]:
        headers: dict[str, str] = {}
        try:
            if path == f"{SITE}access_token":
                return 200, self.oauth.access_token(body), headers
            given = json.loads(body) if body else {}
            if path.startswith("/applications/"):
                return self.oauth.revoke(path, token, given), None, headers
            if path == "/app" or path.startswith("/app/"):
                status, content = self._as_app(path, token, given)
                return status, content, headers
            user = self.users.get(token) or self.oauth.user(token)
            if user is None:
                raise _no(401, "Bad credentials")
            self._sync()
            for known, pattern, action in ROUTES:
                match = re.fullmatch(pattern.replace("{repo}", re.escape(f"/repos/{self.repository}")), path)
                if match is not None and known == method:
                    status, content = action(self, user, given, query, *match.groups())
                    if isinstance(content, list):
                        content = self._page(path, query, content, headers)
                    self._sync()
                    return status, content, headers
            raise _no(404, "Not Found")
        except _Answer as answer:
            return answer.status, answer.content, headers
        except (GitError, KeyError, ValueError, TypeError) as error:
            return 422, {"message": f"Validation Failed: {error!r}"}, headers

    def _as_app(self, path: str, token: str, given: Json) -> tuple[int, Json]:
        """What an App may ask with a signed assertion (RS256) instead of a token."""
        app = self.app
        try:
            claims = jwt.decode(token, app.public_key, algorithms=["RS256"]) if app else {}
        except jwt.InvalidTokenError:
            claims = {}
        if app is None or claims.get("iss") != str(app.id):
            raise _no(401, "A JSON web token could not be decoded")
        if path == "/app":
            return 200, self.app_json()
        if path != f"/app/installations/{app.installation}/access_tokens":
            raise _no(404, "Not Found")
        return 201, self.app_token_json(given)

    def app_json(self) -> Json:
        """The App."""
        app = self.app
        assert app is not None
        owner = self.repository.partition("/")[0]
        return {
            "id": app.id,
            "node_id": f"A_{app.id}",
            "slug": app.slug,
            "name": app.slug,
            "owner": self.user_json(User(owner, 2, "", "Organization")),
            "description": None,
            "external_url": f"http://{self.address}/{app.slug}",
            "html_url": f"http://{self.address}/apps/{app.slug}",
            "created_at": "2026-01-01T00:00:00Z",
            "updated_at": "2026-01-01T00:00:00Z",
            "permissions": {"contents": "write", "metadata": "read"},
            "events": ["push"],
        }

    def app_token_json(self, given: Json) -> Json:
        """A token of the App's installation."""
        app = self.app
        assert app is not None
        until = datetime.fromtimestamp(time.time() + 3600, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {"token": app.robot.token, "expires_at": until, "permissions": given.get("permissions", {})}

    def _page(self, path: str, query: dict[str, str], found: list[Json], headers: dict[str, str]) -> list[Json]:
        size, page = min(100, int(query.get("per_page", 30))), int(query.get("page", 1))
        if len(found) > page * size:
            words = urllib.parse.urlencode({**query, "page": page + 1})
            headers["Link"] = f'<http://{self.address}{PREFIX}{path}?{words}>; rel="next"'
        return found[(page - 1) * size : page * size]

    def _sync(self) -> None:
        """What GitHub does on a push: heads follow their branches, what the base contains is merged."""
        for pull in self.pulls.values():
            if pull.state != "open":
                continue
            tip = self.objects.resolve(f"refs/heads/{pull.branch}")
            base = self.objects.resolve(f"refs/heads/{pull.base}")
            if base is not None and self.objects.is_ancestor(pull.head, base):
                pull.state, pull.merged_at, pull.closed_at = "closed", _now(), _now()
                pull.merge_commit = base
                continue
            if tip is not None and tip != pull.head:
                pull.head, pull.reads = tip, 0
                if base is not None and self.objects.is_ancestor(tip, base):
                    pull.state, pull.closed_at = "closed", _now()  # nothing left to merge
            self.objects.update(f"refs/pull/{pull.number}/head", pull.head)

    # ------------------------------------------------------------ what answers look like

    def url(self, *parts: object) -> str:
        """An address below the repository."""
        return f"http://{self.address}{PREFIX}/repos/{self.repository}/" + "/".join(map(str, parts))

    def page(self, *parts: object) -> str:
        """An address of the site, for people."""
        return f"http://{self.address}/{self.repository}/" + "/".join(map(str, parts))

    def user_json(self, user: User) -> Json:
        """An account."""
        site = f"http://{self.address}"
        return account(f"{site}{PREFIX}", site, user.login, user.id, user.kind)

    def repository_json(self) -> Json:
        """The repository."""
        site = f"http://{self.address}"
        owner = self.user_json(User(self.repository.partition("/")[0], 2, "", "Organization"))
        return repository(f"{site}{PREFIX}", site, self.repository, owner)

    def ref_json(self, ref: str, sha: str) -> Json:
        """A ref."""
        target = {"sha": sha, "type": "commit", "url": self.url("git/commits", sha)}
        return {"ref": ref, "node_id": f"REF_{ref}", "url": self.url("git", ref), "object": target}

    def git_commit_json(self, commit: Commit) -> Json:
        """A commit of the git data API."""
        return {
            "sha": commit.sha,
            "node_id": f"C_{commit.sha}",
            "url": self.url("git/commits", commit.sha),
            "html_url": self.page("commit", commit.sha),
            "verification": {
                "verified": False,
                "reason": "unsigned",
                "signature": None,
                "payload": None,
                "verified_at": None,
            },
            "message": commit.message,
            "tree": {"sha": commit.tree, "url": self.url("git/trees", commit.tree)},
            "parents": [
                {"sha": sha, "url": self.url("git/commits", sha), "html_url": self.page("commit", sha)}
                for sha in commit.parents
            ],
            "author": _person_json(commit.author),
            "committer": _person_json(commit.committer),
        }

    def commit_json(self, commit: Commit) -> Json:
        """A commit of the repository's history."""
        return {
            "sha": commit.sha,
            "node_id": f"C_{commit.sha}",
            "url": self.url("commits", commit.sha),
            "html_url": self.page("commit", commit.sha),
            "comments_url": self.url("commits", commit.sha, "comments"),
            "commit": {**self.git_commit_json(commit), "comment_count": 0},
            "parents": [{"sha": sha, "url": self.url("commits", sha)} for sha in commit.parents],
            "author": None,
            "committer": None,
        }

    def pull_json(self, pull: Pull, *, whole: bool = True) -> Json:
        """A pull request; ``mergeable`` is not known at the first look, as on GitHub."""
        base = self.objects.resolve(f"refs/heads/{pull.base}") or ""
        content = {
            "number": pull.number,
            "id": 10_000 + pull.number,
            "node_id": f"PR_{pull.number}",
            "url": self.url("pulls", pull.number),
            "html_url": f"http://{self.address}/{self.repository}/pull/{pull.number}",
            "issue_url": self.url("issues", pull.number),
            "diff_url": self.page("pull", f"{pull.number}.diff"),
            "patch_url": self.page("pull", f"{pull.number}.patch"),
            "commits_url": self.url("pulls", pull.number, "commits"),
            "comments_url": self.url("issues", pull.number, "comments"),
            "review_comments_url": self.url("pulls", pull.number, "comments"),
            "review_comment_url": self.url("pulls/comments{/number}"),
            "statuses_url": self.url("statuses", pull.head),
            "_links": {
                name: {"href": self.url("pulls", pull.number, name)}
                for name in (
                    *("self", "html", "issue", "comments", "review_comments", "review_comment", "commits", "statuses"),
                )
            },
            "author_association": "MEMBER",
            "auto_merge": None,
            "assignee": None,
            "labels": [],
            "locked": False,
            "milestone": None,
            "state": pull.state,
            "title": pull.title,
            "body": pull.body,
            "draft": pull.draft,
            "user": self.user_json(pull.user),
            "created_at": pull.created_at,
            "updated_at": pull.updated_at or pull.created_at,
            "closed_at": pull.closed_at,
            "merged_at": pull.merged_at,
            "merge_commit_sha": pull.merge_commit,
            "head": self._end_json(pull.branch, pull.head),
            "base": self._end_json(pull.base, base),
        }
        if whole:
            pull.reads += 1
            content |= {"merged": pull.merged_at is not None, "mergeable": None, "mergeable_state": "unknown"}
            content |= {"merged_by": self.user_json(pull.user) if pull.merged_at else None}
            content |= {"maintainer_can_modify": False}
            content |= dict.fromkeys(
                ("additions", "deletions", "changed_files", "comments", "commits", "review_comments"), 0
            )
            if pull.state == "open" and pull.reads > 1:
                tree = self.objects.merge_tree(base, pull.head)
                content["mergeable"] = tree is not None
                if tree is not None:
                    ends = (base, pull.head)
                    if ends not in self._trials:
                        self._trials[ends] = self.objects.write_commit("Test merge", tree, [*ends], None, None)
                    content["merge_commit_sha"] = self._trials[ends]
        return content

    def _end_json(self, branch: str, sha: str) -> Json:
        owner = self.repository.partition("/")[0]
        repo = self.repository_json()
        return {"ref": branch, "label": f"{owner}:{branch}", "sha": sha, "repo": repo, "user": repo["owner"]}

    def comment_json(self, comment: Comment) -> Json:
        """A comment."""
        return {
            "id": comment.id,
            "node_id": f"IC_{comment.id}",
            "author_association": "MEMBER",
            "url": self.url("issues/comments", comment.id),
            "html_url": f"http://{self.address}/{self.repository}/pull/{comment.number}#issuecomment-{comment.id}",
            "issue_url": self.url("issues", comment.number),
            "body": comment.body,
            "user": self.user_json(comment.user),
            "created_at": comment.created_at,
            "updated_at": comment.updated_at,
            "performed_via_github_app": {"id": 1} if comment.through_app else None,
        }

    def review_json(self, review: Review) -> Json:
        """A review."""
        return {
            "id": review.id,
            "node_id": f"PRR_{review.id}",
            "author_association": "MEMBER",
            "_links": {name: {"href": self.url("pulls", review.number)} for name in ("html", "pull_request")},
            "user": self.user_json(review.user),
            "body": review.body,
            "state": review.state,
            "commit_id": review.commit,
            "submitted_at": review.submitted_at,
            "html_url": f"http://{self.address}/{self.repository}/pull/{review.number}#pullrequestreview-{review.id}",
            "pull_request_url": self.url("pulls", review.number),
        }

    # ------------------------------------------------------------ git data

    def get_user(self, user: User, _: Json, __: Json) -> tuple[int, Json]:
        return 200, own_account(self.user_json(user))

    def get_account(self, _: User, __: Json, ___: Json, login: str) -> tuple[int, Json]:
        for user in self.users.values():
            if user.login == urllib.parse.unquote(login):
                return 200, own_account(self.user_json(user))
        raise _no(404, "Not Found")

    def get_repository(self, _: User, __: Json, ___: Json) -> tuple[int, Json]:
        return 200, self.repository_json()

    def get_ref(self, _: User, __: Json, ___: Json, name: str) -> tuple[int, Json]:
        ref = f"refs/{urllib.parse.unquote(name)}"
        sha = self.objects.resolve(ref)
        if sha is None:
            raise _no(404, "Not Found")
        return 200, self.ref_json(ref, sha)

    def create_ref(self, _: User, given: Json, __: Json) -> tuple[int, Json]:
        ref, sha = given["ref"], given["sha"]
        if not ref.startswith("refs/") or ref.count("/") < 2:
            raise _no(422, "Reference name must start with 'refs/' and have at least two slashes")
        if self.objects.kind(sha) != "commit":
            raise _no(422, "Object does not exist")
        if not self.objects.update(ref, sha, ""):
            raise _no(422, "Reference already exists" if self.objects.resolve(ref) else "Reference name is not valid")
        return 201, self.ref_json(ref, sha)

    def update_ref(self, _: User, given: Json, __: Json, name: str) -> tuple[int, Json]:
        ref = f"refs/{urllib.parse.unquote(name)}"
        old, new = self.objects.resolve(ref), given["sha"]
        if old is None:
            raise _no(422, "Reference does not exist")
        if ref.removeprefix("refs/heads/") in self.protected:
            raise _no(422, "Changes must be made through a pull request.")
        if self.objects.kind(new) != "commit":
            raise _no(422, "Object does not exist")
        if not given.get("force") and not self.objects.is_ancestor(old, new):
            raise _no(422, "Update is not a fast forward")
        if not self.objects.update(ref, new, old):
            raise _no(409, "Reference cannot be updated")
        return 200, self.ref_json(ref, new)

    def create_blob(self, _: User, given: Json, __: Json) -> tuple[int, Json]:
        coded = given.get("encoding") == "base64"
        content = base64.b64decode(given["content"]) if coded else given["content"].encode()
        sha = self.objects.git("hash-object", "-w", "--stdin", given=content).decode().strip()
        return 201, {"sha": sha, "url": self.url("git/blobs", sha)}

    def get_blob(self, _: User, __: Json, ___: Json, sha: str) -> tuple[int, Json]:
        if self.objects.kind(sha) != "blob":
            raise _no(404, "Not Found")
        content = self.objects.git("cat-file", "blob", sha)
        coded = base64.encodebytes(content).decode()
        more = {"size": len(content), "encoding": "base64", "content": coded}
        return 200, {"sha": sha, "node_id": f"B_{sha}", "url": self.url("git/blobs", sha), **more}

    def create_tree(self, _: User, given: Json, __: Json) -> tuple[int, Json]:
        index = self.objects.path / f"index-{threading.get_ident()}-{time.monotonic_ns()}"
        more = {"GIT_INDEX_FILE": str(index)}
        try:
            if base := given.get("base_tree"):
                self.objects.git("read-tree", base, more=more)
            lines = []
            for entry in given["tree"]:
                sha = entry.get("sha", "")
                if sha is None:
                    lines.append(f"0 {'0' * 40}\t{entry['path']}\n")
                    continue
                if not sha:
                    sha = self.objects.git("hash-object", "-w", "--stdin", given=entry["content"].encode())
                    sha = sha.decode().strip()
                lines.append(f"{entry['mode']} {sha}\t{entry['path']}\n")
            self.objects.git("update-index", "--index-info", given="".join(lines).encode(), more=more)
            sha = self.objects.git("write-tree", more=more).decode().strip()
        finally:
            index.unlink(missing_ok=True)
        return 201, self._tree_json(sha, recursive=False)

    def get_tree(self, _: User, __: Json, query: Json, sha: str) -> tuple[int, Json]:
        if self.objects.kind(sha) not in {"tree", "commit"}:
            raise _no(404, "Not Found")
        return 200, self._tree_json(sha, recursive="recursive" in query)

    def _tree_json(self, sha: str, *, recursive: bool) -> Json:
        words = ["ls-tree", "-z", *(["-r", "-t"] if recursive else []), sha]
        entries = []
        for line in filter(None, self.objects.git(*words).decode().split("\0")):
            head, _, path = line.partition("\t")
            mode, kind, found = head.split()
            entries.append({"path": path, "mode": mode, "type": kind, "sha": found, "url": self.url("git", found)})
        return {"sha": sha, "url": self.url("git/trees", sha), "tree": entries, "truncated": False}

    def create_commit(self, user: User, given: Json, __: Json) -> tuple[int, Json]:
        if self.objects.kind(given["tree"]) != "tree":
            raise _no(422, "Tree SHA does not exist")
        for parent in given["parents"]:
            if self.objects.kind(parent) != "commit":
                raise _no(422, "Parent SHA does not exist or is not a commit object")
        me = Person(user.login, f"{user.id}+{user.login}@users.noreply.github.com", "")
        author = _person(given["author"]) if "author" in given else me
        committer = _person(given["committer"]) if "committer" in given else author
        sha = self.objects.write_commit(given["message"], given["tree"], given["parents"], author, committer)
        found = self.objects.commit(sha)
        assert found is not None
        return 201, self.git_commit_json(found)

    def get_git_commit(self, _: User, __: Json, ___: Json, sha: str) -> tuple[int, Json]:
        found = self.objects.commit(sha)
        if found is None:
            raise _no(404, "Not Found")
        return 200, self.git_commit_json(found)

    def get_commit(self, _: User, __: Json, ___: Json, name: str) -> tuple[int, Json]:
        sha = self.objects.resolve(f"refs/heads/{name}") or name
        found = self.objects.commit(sha)
        if found is None:
            raise _no(422, f"No commit found for SHA: {name}")
        return 200, self.commit_json(found)

    def list_commits(self, _: User, __: Json, query: Json) -> tuple[int, Json]:
        name = query.get("sha", "main")
        sha = self.objects.resolve(f"refs/heads/{name}") or name
        if self.objects.kind(sha) != "commit":
            raise _no(404, "Not Found")
        found = [self.objects.commit(each) for each in self.objects.git("rev-list", sha).decode().split()]
        return 200, [self.commit_json(commit) for commit in found if commit is not None]

    def compare(self, _: User, __: Json, ___: Json, basehead: str) -> tuple[int, Json]:
        old, new = urllib.parse.unquote(basehead).split("...")
        one, two = (self.objects.resolve(f"refs/heads/{end}") or end for end in (old, new))
        if self.objects.kind(one) != "commit" or self.objects.kind(two) != "commit":
            raise _no(404, "Not Found")
        middle = self.objects.merge_base(one, two)
        if middle is None:
            raise _no(404, f"No common ancestor between {old} and {new}.")
        ahead, behind = self.objects.count(one, two), self.objects.count(two, one)
        status = ("diverged" if behind else "ahead") if ahead else ("behind" if behind else "identical")
        names = {"A": "added", "D": "removed", "M": "modified"}
        first, base = self.objects.commit(one), self.objects.commit(middle)
        assert first is not None
        assert base is not None
        return 200, {
            "url": self.url("compare", basehead),
            "html_url": self.page("compare", basehead),
            "permalink_url": self.page("compare", basehead),
            "diff_url": self.page("compare", f"{basehead}.diff"),
            "patch_url": self.page("compare", f"{basehead}.patch"),
            "status": status,
            "ahead_by": ahead,
            "behind_by": behind,
            "total_commits": ahead,
            "base_commit": self.commit_json(first),
            "merge_base_commit": self.commit_json(base),
            "commits": [],
            "files": [
                {
                    **{"filename": path, "status": names.get(letter, "changed"), "sha": None},
                    **{f"{name}_url": self.page(name, two, path) for name in ("blob", "raw", "contents")},
                    **dict.fromkeys(("additions", "deletions", "changes"), 0),
                }
                for letter, path in self.objects.changed(middle, two)
            ],
        }

    # ------------------------------------------------------------ pull requests

    def create_pull(self, user: User, given: Json, __: Json) -> tuple[int, Json]:
        branch, base = given["head"].rpartition(":")[2], given["base"]
        head, tip = self.objects.resolve(f"refs/heads/{branch}"), self.objects.resolve(f"refs/heads/{base}")
        if head is None or tip is None:
            missing = "head" if head is None else "base"
            raise _no(422, "Validation Failed", {"resource": "PullRequest", "field": missing, "code": "invalid"})
        if any(each.state == "open" and (each.branch, each.base) == (branch, base) for each in self.pulls.values()):
            text = f"A pull request already exists for {self.repository.partition('/')[0]}:{branch}."
            raise _no(422, "Validation Failed", {"resource": "PullRequest", "code": "custom", "message": text})
        if self.objects.is_ancestor(head, tip):
            text = f"No commits between {base} and {branch}"
            raise _no(422, "Validation Failed", {"resource": "PullRequest", "code": "custom", "message": text})
        number = max([0, *self.pulls]) + 1
        pull = Pull(number, given["title"], given.get("body") or "", user, base, branch, head, _now())
        pull.draft = bool(given.get("draft"))
        self.pulls[number] = pull
        return 201, self.pull_json(pull)

    def _pull(self, number: str) -> Pull:
        found = self.pulls.get(int(number))
        if found is None:
            raise _no(404, "Not Found")
        return found

    def get_pull(self, _: User, __: Json, ___: Json, number: str) -> tuple[int, Json]:
        return 200, self.pull_json(self._pull(number))

    def list_pulls(self, _: User, __: Json, query: Json) -> tuple[int, Json]:
        found = [pull for _, pull in sorted(self.pulls.items(), reverse=query.get("direction", "desc") == "desc")]
        state = query.get("state", "open")
        if state != "all":
            found = [pull for pull in found if pull.state == state]
        if "head" in query:
            found = [pull for pull in found if pull.branch == query["head"].rpartition(":")[2]]
        if "base" in query:
            found = [pull for pull in found if pull.base == query["base"]]
        return 200, [self.pull_json(pull, whole=False) for pull in found]

    def edit_pull(self, _: User, given: Json, __: Json, number: str) -> tuple[int, Json]:
        pull = self._pull(number)
        pull.title, pull.body = given.get("title", pull.title), given.get("body", pull.body)
        if given.get("state", pull.state) != pull.state:
            if pull.merged_at:
                raise _no(422, "Validation Failed")
            pull.state = given["state"]
            pull.closed_at = _now() if pull.state == "closed" else None
        return 200, self.pull_json(pull)

    def merge_pull(self, user: User, given: Json, __: Json, number: str) -> tuple[int, Json]:
        pull = self._pull(number)
        base = self.objects.resolve(f"refs/heads/{pull.base}")
        if pull.state != "open" or base is None:
            raise _no(405, "Pull Request is not mergeable")
        if given.get("sha") not in (None, pull.head):
            raise _no(409, "Head branch was modified. Review and try the merge again.")
        tree = self.objects.merge_tree(base, pull.head)
        if tree is None:
            raise _no(405, "Pull Request is not mergeable")
        title = given.get("commit_title") or f"Merge pull request #{number} from {pull.branch}"
        message = f"{title}\n\n{given.get('commit_message') or pull.title}"
        merger = Person(user.login, f"{user.id}+{user.login}@users.noreply.github.com", "")
        made = self.objects.write_commit(
            message, tree, [base, pull.head], merger, Person("GitHub", "noreply@github.com", "")
        )
        if not self.objects.update(f"refs/heads/{pull.base}", made, base):
            raise _no(409, "Base branch was modified. Review and try the merge again.")
        pull.state, pull.merged_at, pull.closed_at, pull.merge_commit = "closed", _now(), _now(), made
        return 200, {"sha": made, "merged": True, "message": "Pull Request successfully merged"}

    def list_reviews(self, _: User, __: Json, ___: Json, number: str) -> tuple[int, Json]:
        self._pull(number)
        found = [review for _, review in sorted(self.reviews.items()) if review.number == int(number)]
        return 200, [self.review_json(review) for review in found]

    def create_review(self, user: User, given: Json, _: Json, number: str) -> tuple[int, Json]:
        pull = self._pull(number)
        if "pull_requests" not in self.oauth.permissions:
            raise _no(403, "Resource not accessible by integration")
        if given.get("event") != "APPROVE" or self.objects.kind(given.get("commit_id") or pull.head) != "commit":
            raise _no(422, "Unprocessable Entity")
        if pull.user == user:
            raise _no(422, "Review Can not approve your own pull request")
        made = self._reviewed(int(number), user, "APPROVED", given.get("commit_id") or pull.head, given.get("body", ""))
        return 200, self.review_json(made)

    def dismiss_review(self, _: User, given: Json, __: Json, number: str, review: str) -> tuple[int, Json]:
        found = self.reviews.get(int(review))
        if found is None or found.number != int(number):
            raise _no(404, "Not Found")
        if found.state not in ("APPROVED", "CHANGES_REQUESTED") or not given.get("message"):
            raise _no(422, "Can not dismiss a review that is not approved or rejected")
        found.state = "DISMISSED"
        return 200, self.review_json(found)

    # ------------------------------------------------------------ comments, checks, statuses

    def get_issue(self, _: User, __: Json, ___: Json, number: str) -> tuple[int, Json]:
        pull = self._pull(number)
        known = self.pull_json(pull, whole=False)
        kept = (
            *("number", "id", "node_id", "title", "body", "state", "html_url", "user", "assignee", "labels", "locked"),
            *("milestone", "created_at", "updated_at", "closed_at", "comments_url", "author_association"),
        )
        return 200, {
            **{key: known[key] for key in kept},
            "url": self.url("issues", number),
            "repository_url": self.repository_json()["url"],
            "labels_url": self.url("issues", number, "labels{/name}"),
            "events_url": self.url("issues", number, "events"),
            "comments": 0,
        }

    def list_comments(self, _: User, __: Json, ___: Json, number: str) -> tuple[int, Json]:
        found = [comment for _, comment in sorted(self.comments.items()) if comment.number == int(number)]
        return 200, [self.comment_json(comment) for comment in found]

    def create_comment(self, user: User, given: Json, __: Json, number: str) -> tuple[int, Json]:
        self._pull(number)
        self._judge_comment(given["body"])
        self._next += 1
        made = self.comments[self._next] = Comment(self._next, int(number), user, given["body"], _now(), _now())
        return 201, self.comment_json(made)

    @staticmethod
    def _judge_comment(body: str) -> None:
        if len(body) > 65_536:
            raise _no(422, "Validation Failed", {"field": "body", "code": "custom", "message": "body is too long"})

    def get_comment(self, _: User, __: Json, ___: Json, number: str) -> tuple[int, Json]:
        found = self.comments.get(int(number))
        if found is None:
            raise _no(404, "Not Found")
        return 200, self.comment_json(found)

    def edit_comment(self, _: User, given: Json, __: Json, number: str) -> tuple[int, Json]:
        found = self.comments.get(int(number))
        if found is None:
            raise _no(404, "Not Found")
        self._judge_comment(given["body"])
        found.body, found.updated_at = given["body"], _now()
        return 200, self.comment_json(found)

    def delete_comment(self, _: User, __: Json, ___: Json, number: str) -> tuple[int, Json]:
        if self.comments.pop(int(number), None) is None:
            raise _no(404, "Not Found")
        return 204, None

    def create_check(self, user: User, given: Json, __: Json) -> tuple[int, Json]:
        if user.kind != "Bot":
            raise _no(403, "You must authenticate via a GitHub App.")
        if self.objects.kind(given["head_sha"]) != "commit":
            raise _no(422, f"No commit found for SHA: {given['head_sha']}")
        self._next += 1
        output = {"title": None, "summary": None, "text": None, **given.get("output", {})}
        made = {
            "status": "queued",
            "conclusion": None,
            "external_id": "",
            **given,
            "id": self._next,
            "node_id": f"CR_{self._next}",
            "url": self.url("check-runs", self._next),
            "html_url": self.page("runs", self._next),
            "details_url": self.page("runs", self._next),
            "output": {**output, "annotations_count": 0, "annotations_url": self.url("check-runs", "annotations")},
            "started_at": _now(),
            "completed_at": None,
            "check_suite": {"id": 1},
            "pull_requests": [],
            "app": None if self.app is None else self.app_json(),
        }
        self.checks[self._next] = made
        return 201, made

    def edit_check(self, _: User, given: Json, __: Json, number: str) -> tuple[int, Json]:
        found = self.checks.get(int(number))
        if found is None:
            raise _no(404, "Not Found")
        found.update({**given, "output": {**found["output"], **given.get("output", {})}})
        return 200, found

    def list_checks(self, _: User, __: Json, query: Json, sha: str) -> tuple[int, Json]:
        found = [check for check in self.checks.values() if check["head_sha"] == sha]
        if "check_name" in query:
            found = [check for check in found if check["name"] == query["check_name"]]
        return 200, {"total_count": len(found), "check_runs": found}

    def create_status(self, user: User, given: Json, __: Json, sha: str) -> tuple[int, Json]:
        if self.objects.kind(sha) != "commit":
            raise _no(422, f"No commit found for SHA: {sha}")
        self._next += 1
        made = {
            "description": None,
            "target_url": None,
            **given,
            "id": self._next,
            "node_id": f"S_{self._next}",
            "sha": sha,
            "url": self.url("statuses", sha),
            "avatar_url": f"http://{self.address}/avatars/{user.id}",
            "creator": self.user_json(user),
            "created_at": _now(),
            "updated_at": _now(),
        }
        self.statuses.append(made)
        return 201, made

    def get_status(self, _: User, __: Json, ___: Json, sha: str) -> tuple[int, Json]:
        newest = {each["context"]: each for each in self.statuses if each["sha"] == sha}
        return 200, {
            "state": "success",
            "sha": sha,
            "total_count": len(newest),
            "statuses": list(newest.values()),
            "repository": self.repository_json(),
            "url": self.url("commits", sha, "status"),
            "commit_url": self.url("commits", sha),
        }


_Action: TypeAlias = Callable[..., tuple[int, Json]]
ROUTES: tuple[tuple[str, str, _Action], ...] = (
    ("GET", "/user", GitHubRig.get_user),
    ("GET", "/users/([^/]+)", GitHubRig.get_account),
    ("GET", "{repo}", GitHubRig.get_repository),
    ("GET", "{repo}/git/refs?/(.+)", GitHubRig.get_ref),
    ("POST", "{repo}/git/refs", GitHubRig.create_ref),
    ("PATCH", "{repo}/git/refs/(.+)", GitHubRig.update_ref),
    ("POST", "{repo}/git/blobs", GitHubRig.create_blob),
    ("GET", "{repo}/git/blobs/([0-9a-f]{40})", GitHubRig.get_blob),
    ("POST", "{repo}/git/trees", GitHubRig.create_tree),
    ("GET", "{repo}/git/trees/([0-9a-f]{40})", GitHubRig.get_tree),
    ("POST", "{repo}/git/commits", GitHubRig.create_commit),
    ("GET", "{repo}/git/commits/([0-9a-f]{40})", GitHubRig.get_git_commit),
    ("GET", "{repo}/commits", GitHubRig.list_commits),
    ("GET", "{repo}/commits/([0-9a-f]{40})/check-runs", GitHubRig.list_checks),
    ("GET", "{repo}/commits/([0-9a-f]{40})/status", GitHubRig.get_status),
    ("GET", "{repo}/commits/([^/]+)", GitHubRig.get_commit),
    ("GET", "{repo}/compare/(.+)", GitHubRig.compare),
    ("GET", "{repo}/pulls", GitHubRig.list_pulls),
    ("POST", "{repo}/pulls", GitHubRig.create_pull),
    ("GET", "{repo}/pulls/([0-9]+)", GitHubRig.get_pull),
    ("PATCH", "{repo}/pulls/([0-9]+)", GitHubRig.edit_pull),
    ("PUT", "{repo}/pulls/([0-9]+)/merge", GitHubRig.merge_pull),
    ("GET", "{repo}/pulls/([0-9]+)/reviews", GitHubRig.list_reviews),
    ("POST", "{repo}/pulls/([0-9]+)/reviews", GitHubRig.create_review),
    ("PUT", "{repo}/pulls/([0-9]+)/reviews/([0-9]+)/dismissals", GitHubRig.dismiss_review),
    ("GET", "{repo}/issues/([0-9]+)", GitHubRig.get_issue),
    ("GET", "{repo}/issues/([0-9]+)/comments", GitHubRig.list_comments),
    ("POST", "{repo}/issues/([0-9]+)/comments", GitHubRig.create_comment),
    ("GET", "{repo}/issues/comments/([0-9]+)", GitHubRig.get_comment),
    ("PATCH", "{repo}/issues/comments/([0-9]+)", GitHubRig.edit_comment),
    ("DELETE", "{repo}/issues/comments/([0-9]+)", GitHubRig.delete_comment),
    ("POST", "{repo}/check-runs", GitHubRig.create_check),
    ("PATCH", "{repo}/check-runs/([0-9]+)", GitHubRig.edit_check),
    ("POST", "{repo}/statuses/([0-9a-f]{40})", GitHubRig.create_status),
)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _person(given: Json) -> Person:
    return Person(given["name"], given["email"], given.get("date", ""))


def _person_json(person: Person) -> Json:
    return {"name": person.name, "email": person.email, "date": person.date}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    rig: GitHubRig

    def _serve(self) -> None:
        if self.command == "GET" and self.path.startswith(f"{SITE}authorize?"):
            people = [user for user in self.rig.users.values() if user.kind == "User"]
            self._write(200, self.rig.oauth.page(f"http://{self.rig.address}{self.path}", people), "text/html", {})
            return
        length = min(int(self.headers.get("Content-Length") or 0), _MAX_BODY)
        body = self.rfile.read(length)
        token = (self.headers.get("Authorization") or "").rpartition(" ")[2]
        try:
            etag = self.headers.get("If-None-Match") or ""
            status, content, headers = self.rig.handle(self.command, self.path.removeprefix(PREFIX), token, body, etag)
        except ConnectionAbortedError:
            self.close_connection = True
            return
        raw = b"" if content is None else json.dumps(content).encode()
        self._write(status, raw, "application/json", headers)

    def _write(self, status: int, raw: bytes, content_type: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": f"{content_type}; charset=utf-8", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _serve  # noqa: N815 - the library's names

    def log_message(self, *_: object) -> None:
        """Silent: the rig keeps its own log."""


@contextlib.contextmanager
def github(path: Path, *users: User, repository: str = "acme/fleet") -> Iterator[GitHubRig]:
    """A running rig over the bare repository at ``path``."""
    rig = GitHubRig(path, users, repository)
    handler = type("Handler", (_Handler,), {"rig": rig})
    with BoundedServer(handler, "github").running() as address:
        rig.address = address
        yield rig
