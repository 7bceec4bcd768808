"""GitHub as Git host, through PyGithub. Imported only where it is configured.

Every write can be repeated: nothing is retried blindly, and a call that stopped half way is finished by the next one.

- One key is one proposal: who creates ``refs/trimtab/proposals/<hash of the key>`` first decides what is proposed. GitHub
  creates a ref only where there is none, so two callers at once agree without another store. The ref's commit holds title,
  body and all, so that any later call completes what a crash left out.
- A merge is a commit made by the git data API with the judged base and head as its parents, and a fast-forward of the
  base branch to it: GitHub refuses the move where the base has gone on, so both ends are compared and swapped. (The
  merge button's API compares the head alone.) Where a rule demands the button, the answer is BLOCKED and says so.
- What GitHub has no field for stands in the first line of the body (:mod:`trimtab_config.githost.notes`).
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
import urllib.parse
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from github import Auth, Github, GithubException, GithubIntegration, InputGitAuthor, InputGitTreeElement
from github.GitCommit import GitCommit
from github.GitTree import GitTree
from github.PullRequest import PullRequest

from trimtab_config.git.identity import GitIdentity
from trimtab_config.git.objects import format_trailers
from trimtab_config.githost.github_reading import ConditionalReader, PatientRetry, RateGate, message_of, outside
from trimtab_config.githost.interface import (
    PROPOSAL_TRAILER,
    Merged,
    NotReady,
    Obstacle,
    Proposal,
    ProposalState,
)
from trimtab_config.githost.local import branch_elsewhere, checked_branch, judge_texts, missing_base, nothing_new
from trimtab_config.githost.notes import ProposalNote, split_note, with_note
from trimtab_kernel.problems import InputError, OutsideError, Problem, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from github.Repository import Repository

    from trimtab_config.git.repository import GitRepository
    from trimtab_kernel.canonical import Json

CLAIMS = "trimtab/proposals"
TIMEOUT = 15
MAX_BODY = 60_000
_CLOSED_MARK = "<!-- trimtab:closed:1 -->"
_PROPOSAL = "proposal.json"
_WALK = 500
_MERGEABLE_SECONDS = 20.0
_UNPROCESSABLE = 422
_NOT_FOUND = 404
_CONFLICT = 409


@dataclass(frozen=True, slots=True)
class _Claim:
    """What the first caller with a key asked for."""

    note: ProposalNote
    base: str
    branch: str
    title: str
    body: str

    def to_bytes(self) -> bytes:
        return json.dumps(
            {
                "format": 1,
                **self.note.to_json(),
                "base": self.base,
                "branch": self.branch,
                "title": self.title,
                "body": self.body,
            },
            sort_keys=True,
        ).encode()

    @classmethod
    def parse(cls, raw: bytes) -> _Claim:
        content: dict[str, Any] = json.loads(raw)
        note = ProposalNote(content["key"], content["commit"], content["meta"])
        return cls(note, content["base"], content["branch"], content["title"], content["body"])


def connect(base_url: str, auth: Auth.Auth, seconds_between_writes: float = 1.0) -> Github:
    """A client that repeats reads and never writes, and waits for no rate limit: the caller decides when to try again.

    GitHub asks for a second between writes; a faster pace runs into its secondary limits.
    """
    retry = PatientRetry(
        total=3,
        backoff_factor=0.2,
        allowed_methods={"GET", "HEAD"},
        secondary_rate_wait=1,
        max_rate_limit_wait=2,
        respect_retry_after_header=False,
    )
    return Github(
        base_url=base_url,
        auth=auth,
        timeout=TIMEOUT,
        retry=retry,
        per_page=100,
        user_agent="trimtab",
        seconds_between_requests=0,
        seconds_between_writes=seconds_between_writes,
    )


def token_client(base_url: str, token: str, seconds_between_writes: float = 1.0) -> tuple[Github, int]:
    """A client that acts as whose token it is, and that account's numeric id. Raises OutsideError."""
    client = connect(base_url, Auth.Token(token), seconds_between_writes)
    with outside("cannot ask GitHub who we are"):
        return client, client.get_user().id


def app_client(
    base_url: str, app: int, key: str, installation: int, seconds_between_writes: float = 1.0
) -> tuple[Github, int]:
    """A client that acts as a GitHub App's installation, and the numeric id of the App's robot. Raises OutsideError.

    It has no more rights than proposals, checks and comments need; its token lives an hour and is renewed when it is due.
    ``key`` is the App's private key, PEM.
    """
    own = Auth.AppAuth(app, key)
    permissions = {"contents": "write", "pull_requests": "write", "checks": "write", "statuses": "write"}
    client = connect(base_url, own.get_installation_auth(installation, permissions), seconds_between_writes)
    with outside("cannot ask GitHub who we are"):
        slug = GithubIntegration(auth=own, base_url=base_url).get_app().slug
        return client, client.get_user(f"{slug}[bot]").id


def current_token(client: Github) -> str:
    """The token of the moment, for git's own transport."""
    auth = client.requester.auth
    assert auth is not None
    return auth.token


class GitHubHost:
    """A :class:`trimtab_config.githost.interface.GitHost` over one repository on GitHub or GitHub Enterprise Server.

    ``account`` is the numeric id of the account that the client acts as: notes count in its own pull requests alone.
    """

    def __init__(
        self,
        client: Github,
        repository: str,
        account: int,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
        gate: RateGate | None = None,
    ) -> None:
        """``gate`` is shared with everything else that acts as this account."""
        self._client = client
        self._name = repository
        self._owner = repository.partition("/")[0]
        self._account = account
        self._clock = clock
        self._sleep = sleep
        self._gate = gate or RateGate()
        self._reader = ConditionalReader(client)

    @cached_property
    def _repository(self) -> Repository:
        return self._client.get_repo(self._name)

    @property
    def _path(self) -> str:
        return f"/repos/{self._name}"

    # ------------------------------------------------------------ reading

    def find_proposal(self, key: str) -> Proposal | None:
        """See GitHost."""
        with outside(f"cannot look for proposal {key}", self._gate):
            claim = self._claim(key)
            if claim is None:
                return None
            pull = self._pull_of(claim)
            return None if pull is None else self._view(pull)

    def proposal(self, number: int) -> Proposal | None:
        """See GitHost. People's pull requests are proposals too, with an empty key."""
        with outside(f"cannot read pull request {number}", self._gate):
            pull = self._pull(number)
            return None if pull is None else self._view(pull)

    def proposals(self, state: ProposalState | None = None) -> tuple[Proposal, ...]:
        """See GitHost."""
        wanted = {ProposalState.OPEN: "open", None: "all"}.get(state, "closed")
        with outside("cannot list pull requests", self._gate):
            found = self._reader.all(f"{self._path}/pulls?state={wanted}&sort=created&direction=desc")
            tips: dict[str, str | None] = {}  # each base is asked for once
            views = [self._view(self._made_pull({}, each), tips) for each in found]
        kept = [view for view in views if state in (None, view.state)]
        return tuple(sorted(kept, key=lambda view: view.number, reverse=True))

    # ------------------------------------------------------------ writing

    def open_proposal(
        self,
        key: str,
        base: str,
        branch: str,
        commit: str,
        title: str,
        body: str,
        meta: Mapping[str, Json],
    ) -> Proposal:
        """See GitHost."""
        judge_texts(key, title, meta)
        checked_branch("base", base)
        checked_branch("branch", branch)
        claim = _Claim(ProposalNote(key, commit, meta), base, branch, title, body)
        size = len(with_note(claim.note, body))
        if size > MAX_BODY:
            raise InputError(Problem("G201", field="body", got=f"{size} characters", expected=f"at most {MAX_BODY}"))
        with outside(f"cannot open the proposal {key}", self._gate):
            known = self._claim(key)
            if known is None:
                self._judge_branches(claim)
                known = self._make_claim(key, claim)
            return self._complete(known)

    def merge(
        self,
        number: int,
        expected_head: str,
        expected_base: str,
        merger: GitIdentity,
        trailers: Sequence[tuple[str, str]] = (),
    ) -> Merged | NotReady:
        """See GitHost."""
        with outside(f"cannot merge pull request {number}", self._gate):
            pull = self._pull(number)
            if pull is None:
                return NotReady(Obstacle.MISSING, f"pull request {number}")
            return self._merge(pull, expected_head, expected_base, merger, trailers)

    def close(self, number: int, reason: str) -> Proposal | None:
        """See GitHost. The reason is a comment of the bot's, written before the pull request is closed."""
        with outside(f"cannot close pull request {number}", self._gate):
            pull = self._pull(number)
            if pull is None:
                return None
            if pull.state == "open":
                if self._close_reason(pull) is None:
                    pull.create_issue_comment(f"{_CLOSED_MARK}\n{reason}")
                pull.edit(state="closed")
                pull = self._pull(number)
                assert pull is not None
            return self._view(pull)

    def publish(self, repository: GitRepository, sha: str) -> str:
        """Put a commit of a local repository on GitHub by the git data API, on no branch; gives its id there.

        Only what differs from its first parent is sent, whose commit must be on GitHub already. GitHub computes the tree
        anew and it must be the very same one: what people review is, bit for bit, what was made here. (The id of the commit
        is the same too where GitHub writes date and message as git does.) A repeat sends nothing that is there. Raises
        OutsideError for another tree.
        """
        with outside(f"cannot send commit {sha[:12]}", self._gate):
            if self._git_commit(sha) is not None:
                return sha
            info = repository.commit(sha)
            base = self._required_commit(info.parents[0])
            elements = []
            for path in repository.changed_paths(info.parents[0], sha):
                content = repository.file(sha, path)
                if content is None:
                    elements.append(InputGitTreeElement(path, "100644", "blob", sha=None))
                    continue
                blob = self._repository.create_git_blob(base64.b64encode(content).decode(), "base64")
                elements.append(InputGitTreeElement(path, "100644", "blob", sha=blob.sha))
            tree = self._repository.create_git_tree(elements, base.tree)
            if tree.sha != info.tree:
                raise OutsideError(f"GitHub made tree {tree.sha[:12]} of commit {sha[:12]}, expected {info.tree[:12]}")
            made = self._repository.create_git_commit(
                f"{info.subject}\n\n{info.body}".rstrip() + "\n",
                tree,
                [self._required_commit(parent) for parent in info.parents],
                _author(info.author, info.committed_at),
                _author(info.committer, info.committed_at),
            )
            return made.sha

    # ------------------------------------------------------------ parts

    def _claim(self, key: str) -> _Claim | None:
        name = f"{CLAIMS}/{_hash(key)}"
        sha = self._ref(name)
        if sha is None:
            return None
        tree = self._required_commit(sha).tree
        headers, content = self._reader.get(f"{self._path}/git/trees/{tree.sha}", never_changes=True)
        entries = GitTree(self._client.requester, headers, content, completed=True).tree
        entry = next((each for each in entries if each.path == _PROPOSAL), None)
        if entry is None:
            raise InputError(Problem("G202", field=name, got="a claim without its record"))
        _, blob = self._reader.get(f"{self._path}/git/blobs/{entry.sha}", never_changes=True)
        try:
            claim = _Claim.parse(base64.b64decode(blob["content"]))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(Problem("G202", field=name, got="a record that cannot be read")) from error
        if claim.note.key != key:
            raise InputError(Problem("G202", field=name, got=quoted(claim.note.key), expected=quoted(key)))
        return claim

    def _make_claim(self, key: str, claim: _Claim) -> _Claim:
        element = InputGitTreeElement(_PROPOSAL, "100644", "blob", content=claim.to_bytes().decode())
        tree = self._repository.create_git_tree([element])
        commit = self._repository.create_git_commit(f"Claim of proposal {key}", tree, [])
        try:
            self._repository.create_git_ref(f"refs/{CLAIMS}/{_hash(key)}", commit.sha)
        except GithubException as error:
            known = self._claim(key) if error.status in (_UNPROCESSABLE, _CONFLICT) else None
            if known is None:
                raise
            return known  # another caller was faster, and decides
        return claim

    def _complete(self, claim: _Claim) -> Proposal:
        """The branch and the pull request of a claim, whichever a crash left out."""
        pull = self._pull_of(claim)
        if pull is not None:
            return self._view(pull)
        try:
            self._repository.create_git_ref(f"refs/heads/{claim.branch}", claim.note.commit)
        except GithubException as error:
            if error.status != _UNPROCESSABLE:
                raise
            there = self._tip(claim.branch)
            if there != claim.note.commit:
                raise branch_elsewhere(claim.branch, there or "", claim.note.commit) from error
        try:
            made = self._repository.create_pull(
                claim.base, claim.branch, title=claim.title, body=with_note(claim.note, claim.body)
            )
        except GithubException as error:
            pull = self._pull_of(claim) if error.status == _UNPROCESSABLE else None
            if pull is None:
                raise
            return self._view(pull)
        return self._view(made)

    def _judge_branches(self, claim: _Claim) -> None:
        tip = self._tip(claim.base)
        if tip is None:
            raise missing_base(claim.base)
        commit = claim.note.commit
        there = self._tip(claim.branch)
        if there is not None and there != commit:
            raise branch_elsewhere(claim.branch, there, commit)
        if self._git_commit(commit) is None:
            raise InputError(Problem("G203", field="commit", got=f"no commit {quoted(commit)} on GitHub"))
        if claim.base == claim.branch or self._compare(tip, commit).status in ("behind", "identical"):
            raise nothing_new(commit, claim.base)

    def _pull_of(self, claim: _Claim) -> PullRequest | None:
        """The pull request of a claim: ours, from its branch, with its key. The oldest where there are several."""
        pulls = self._repository.get_pulls(state="all", head=f"{self._owner}:{claim.branch}", base=claim.base)
        found = [pull for pull in pulls if (note := self._note(pull)[0]) is not None and note.key == claim.note.key]
        return min(found, key=lambda pull: pull.number, default=None)

    def _note(self, pull: PullRequest) -> tuple[ProposalNote | None, str]:
        text = pull.body or ""
        return split_note(text) if pull.user.id == self._account else (None, text)

    def _pull(self, number: int) -> PullRequest | None:
        if not 1 <= number < 2**31:
            return None
        try:
            return self._made_pull(*self._reader.get(f"{self._path}/pulls/{number}"))
        except GithubException as error:
            if error.status == _NOT_FOUND:
                return None
            raise

    def _made_pull(self, headers: dict[str, Any], content: dict[str, Any]) -> PullRequest:
        return PullRequest(self._client.requester, headers, content, completed=True)

    def _view(self, pull: PullRequest, tips: dict[str, str | None] | None = None) -> Proposal:
        note, body = self._note(pull)
        merged: Merged | None = None
        known = {} if tips is None else tips
        if pull.base.ref not in known:
            known[pull.base.ref] = self._tip(pull.base.ref)
        base = known[pull.base.ref] or ""
        state, reason = ProposalState.OPEN, ""
        if pull.merged_at is not None:
            state = ProposalState.MERGED
            merged, base = self._brought_by(pull.head.sha, base, pull.merge_commit_sha)
        elif pull.state == "closed":
            state, reason = ProposalState.CLOSED, self._close_reason(pull) or ""
        return Proposal(
            number=pull.number,
            key=note.key if note else "",
            state=state,
            base_branch=pull.base.ref,
            base=base,
            branch=pull.head.ref,
            head=pull.head.sha,
            title=pull.title,
            body=body,
            opened_by=GitIdentity(pull.user.login, f"{pull.user.id}+{pull.user.login}@users.noreply.github.com"),
            opened_at=pull.created_at.astimezone(UTC),
            meta=note.meta if note else {},
            merged=merged,
            closed_reason=reason,
        )

    def _close_reason(self, pull: PullRequest) -> str | None:
        for comment in self._reader.all(f"{self._path}/issues/{pull.number}/comments"):
            text = str(comment["body"] or "")
            if comment["user"]["id"] == self._account and text.startswith(_CLOSED_MARK):
                return text.removeprefix(_CLOSED_MARK).strip()
        return None

    def _brought_by(self, head: str, tip: str, hint: str | None) -> tuple[Merged, str]:
        """The merge, and what it was merged into: the oldest commit of the first-parent line that contains ``head``.

        GitHub's own ``merge_commit_sha`` is taken where it is a merge of ``head``; for what was merged by hand and pushed it
        need not be. Then the line is followed from the tip, some hundred commits at most.
        """
        if hint is not None:
            made = self._git_commit(hint)
            if made is not None and len(made.parents) > 1 and head in [parent.sha for parent in made.parents[1:]]:
                return Merged(made.sha), made.parents[0].sha
        found, parents = hint or tip, tip
        known: dict[str, list[str]] = {}
        for count, commit in enumerate(self._repository.get_commits(sha=tip)):
            known[commit.sha] = [parent.sha for parent in commit.parents]
            if count >= _WALK:
                break
        at: str | None = tip
        while at is not None and at in known:
            ends = known[at]
            if at == head or head in ends[1:]:
                return Merged(at), ends[0] if ends else at
            at = ends[0] if ends else None
        return Merged(found), parents

    def _merge(
        self,
        pull: PullRequest,
        expected_head: str,
        expected_base: str,
        merger: GitIdentity,
        trailers: Sequence[tuple[str, str]],
    ) -> Merged | NotReady:
        view = self._view(pull)
        if view.merged is not None:
            if view.head == expected_head:
                return view.merged
            return NotReady(Obstacle.HEAD_MOVED, f"merged with head {view.head[:12]}, expected {expected_head[:12]}")
        if view.state is ProposalState.CLOSED:
            return NotReady(Obstacle.CLOSED, view.closed_reason)
        if view.head != expected_head:
            return NotReady(Obstacle.HEAD_MOVED, f"{view.head[:12]}, expected {expected_head[:12]}")
        if view.base != expected_base:
            return NotReady(Obstacle.BASE_MOVED, f"{view.base[:12] or 'nothing'}, expected {expected_base[:12]}")
        between = self._compare(expected_base, expected_head)
        if between.status in ("behind", "identical"):
            return NotReady(Obstacle.EMPTY, f"{expected_head[:12]} in {view.base_branch}")
        base, head = self._required_commit(expected_base), self._required_commit(expected_head)
        if between.status == "ahead":
            tree = head.tree
        else:
            made = self._test_merge(pull.number, expected_base, expected_head)
            if isinstance(made, NotReady):
                return made
            tree = made.tree
        message = f"Merge proposal {pull.number}: {view.title}\n\n" + format_trailers(
            [(PROPOSAL_TRAILER, str(pull.number)), *trailers]
        )
        author = _author(merger, self._clock())
        commit = self._repository.create_git_commit(message, tree, [base, head], author, author)
        try:
            self._repository.get_git_ref(f"heads/{view.base_branch}").edit(commit.sha, force=False)
        except GithubException as error:
            if error.status not in (_UNPROCESSABLE, _CONFLICT):
                raise
            return self._refused(pull.number, expected_head, expected_base, error)
        return Merged(commit.sha)

    def _refused(self, number: int, head: str, base: str, error: GithubException) -> Merged | NotReady:
        """Why the branch could not be moved: somebody merged it, the base went on, or a rule is in the way."""
        pull = self._pull(number)
        view = None if pull is None else self._view(pull)
        if view is not None and view.merged is not None and view.head == head:
            return view.merged
        if view is None or view.base != base:
            return NotReady(Obstacle.BASE_MOVED, f"{view.base[:12] if view else 'nothing'}, expected {base[:12]}")
        return NotReady(Obstacle.BLOCKED, message_of(error))

    def _test_merge(self, number: int, base: str, head: str) -> GitCommit | NotReady:
        """GitHub's own merge of exactly these two, which it makes in its own time."""
        deadline = time.monotonic() + _MERGEABLE_SECONDS
        pause = 0.1
        while True:
            # Asked anew: nobody promises that the tag covers GitHub's own merge.
            pull = self._repository.get_pull(number)
            if pull.mergeable is False:
                return NotReady(Obstacle.CONFLICT, ", ".join(self._both_changed(base, head)) or "GitHub names no files")
            if pull.merge_commit_sha:
                made = self._git_commit(pull.merge_commit_sha)
                if made is not None and [parent.sha for parent in made.parents] == [base, head]:
                    return made
            if time.monotonic() > deadline:
                return NotReady(Obstacle.BLOCKED, f"GitHub has not merged {head[:12]} on trial yet; try again")
            self._sleep(pause)
            pause = min(2 * pause, 2.0)

    def _both_changed(self, base: str, head: str) -> list[str]:
        ours = self._compare(base, head)
        middle = ours.merge_base_commit.sha
        theirs = {file.filename for file in self._compare(middle, base).files}
        return sorted(theirs & {file.filename for file in ours.files})

    def _compare(self, base: str, head: str) -> Any:  # noqa: ANN401 - PyGithub's Comparison
        return self._repository.compare(base, head)

    def _tip(self, branch: str) -> str | None:
        return self._ref(f"heads/{branch}")

    def _ref(self, name: str) -> str | None:
        """Where a ref below ``refs/`` is; None where there is none."""
        try:
            _, ref = self._reader.get(f"{self._path}/git/ref/{urllib.parse.quote(name)}")
        except GithubException as error:
            if error.status == _NOT_FOUND:
                return None
            raise
        # GitHub answers a prefix of a name with the refs below it; the exact one alone counts.
        if not isinstance(ref, dict) or ref.get("ref") != f"refs/{name}":
            return None
        target = ref.get("object") or {}
        if not isinstance(target.get("sha"), str):
            raise OutsideError(f"GitHub's answer about refs/{name} is not whole; try again")
        return str(target["sha"])

    def _git_commit(self, sha: str) -> GitCommit | None:
        if len(sha) != 40 or not set(sha) <= set("0123456789abcdef"):
            return None
        try:
            headers, content = self._reader.get(f"{self._path}/git/commits/{sha}", never_changes=True)
            return GitCommit(self._client.requester, headers, content, completed=True)
        except GithubException as error:
            if error.status in (_NOT_FOUND, _UNPROCESSABLE):
                return None
            raise

    def _required_commit(self, sha: str) -> GitCommit:
        found = self._git_commit(sha)
        if found is None:
            raise InputError(Problem("G203", field="commit", got=f"no commit {quoted(sha)} on GitHub"))
        return found


def _author(person: GitIdentity, at: datetime) -> InputGitAuthor:
    return InputGitAuthor(person.name, person.email, at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:32]
