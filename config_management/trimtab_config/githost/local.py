"""A bare Git repository on this machine as Git host: no server, no hooks, no account.

A proposal is ``refs/pull/N/head`` and a JSON record in ``refs/pull/N/meta``. Numbers are given out by compare-and-swap on
creating these refs, and every change is one transaction of refs, so that processes need no other agreement. Whoever may
write to the repository may write these refs too: this host has the trust of the people who share the repository, and what
protects a merge is that head and base are compared with what was approved. A record that says "merged" is believed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from trimtab_config.git.identity import GitIdentity
from trimtab_config.git.objects import format_trailers
from trimtab_config.git.refs import branch_ref, is_object_id
from trimtab_config.git.repository import GitRepository, MergeConflict, RefConflictError, RefMove
from trimtab_config.githost.interface import (
    PROPOSAL_TRAILER,
    Merged,
    NotReady,
    Obstacle,
    Proposal,
    ProposalState,
)
from trimtab_kernel.canonical import CanonicalError, Json, canonical_json
from trimtab_kernel.problems import InputError, OutsideError, Problem, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PULLS = "refs/pull"
MAX_RECORD = 1024 * 1024
MAX_TITLE = 200
MAX_KEY = 200
MAX_NUMBER = 10_000_000
ATTEMPTS = 50
_META_REF = re.compile(r"refs/pull/([1-9][0-9]{0,7})/(?:meta|head)", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Record:
    """What ``refs/pull/N/meta`` holds. ``commit`` is the head when the proposal was opened, ``final_head`` when it ended."""

    number: int
    key: str
    title: str
    body: str
    base_branch: str
    branch: str
    commit: str
    opened_by: GitIdentity
    opened_at: datetime
    meta: Mapping[str, Json]
    state: ProposalState = ProposalState.OPEN
    ended_at: datetime | None = None
    final_head: str = ""
    merged: str = ""
    merged_into: str = ""
    closed_reason: str = ""

    def to_bytes(self) -> bytes:
        return canonical_json(
            {
                "format": 1,
                "number": self.number,
                "key": self.key,
                "title": self.title,
                "body": self.body,
                "baseBranch": self.base_branch,
                "branch": self.branch,
                "commit": self.commit,
                "openedBy": {"name": self.opened_by.name, "email": self.opened_by.email},
                "openedAt": self.opened_at.isoformat(),
                "meta": dict(self.meta),
                "state": self.state.value,
                "endedAt": self.ended_at.isoformat() if self.ended_at else None,
                "finalHead": self.final_head,
                "merged": self.merged,
                "mergedInto": self.merged_into,
                "closedReason": self.closed_reason,
            }
        )

    @classmethod
    def parse(cls, number: int, raw: bytes) -> _Record:
        """Raises ValueError for anything that this host has not written."""
        try:
            data: dict[str, Any] = json.loads(raw)
            if data["format"] != 1 or data["number"] != number:
                raise ValueError(f"expected format 1 and number {number}")
            ended = data["endedAt"]
            record = cls(
                number=number,
                key=data["key"],
                title=data["title"],
                body=data["body"],
                base_branch=data["baseBranch"],
                branch=data["branch"],
                commit=data["commit"],
                opened_by=GitIdentity(data["openedBy"]["name"], data["openedBy"]["email"]),
                opened_at=datetime.fromisoformat(data["openedAt"]),
                meta=data["meta"],
                state=ProposalState(data["state"]),
                ended_at=None if ended is None else datetime.fromisoformat(ended),
                final_head=data["finalHead"],
                merged=data["merged"],
                merged_into=data["mergedInto"],
                closed_reason=data["closedReason"],
            )
            branch_ref(record.base_branch)
            branch_ref(record.branch)
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"expected a record of a proposal ({type(error).__name__}: {error})") from error
        texts = (record.key, record.title, record.body, record.closed_reason)
        ids = (record.commit, *filter(None, (record.final_head, record.merged, record.merged_into)))
        if not all(isinstance(text, str) for text in texts) or not all(map(is_object_id, ids)):
            raise ValueError("expected texts and object ids in a record of a proposal")
        if not isinstance(record.meta, dict) or (record.state is ProposalState.MERGED) != bool(record.merged):
            raise ValueError("expected the meta of a proposal, and a merge where it is merged")
        return record


class LocalGitHost:
    """A :class:`GitHost` over one bare repository. ``identity`` opens proposals; ``clock`` gives the time with its zone.

    A proposal's head follows its branch while it is open, as on other hosts. A proposal whose head reached the base branch
    by other hands counts as merged.
    """

    def __init__(self, repository: GitRepository, identity: GitIdentity, clock: Callable[[], datetime]) -> None:
        self.repository = repository
        self.identity = identity
        self._clock = clock
        self._records: dict[tuple[int, str], _Record | str] = {}

    # ------------------------------------------------------------ reading

    def find_proposal(self, key: str) -> Proposal | None:
        """See :class:`GitHost`. Records that nobody can read are no proposals here; :meth:`proposal` names them."""
        number = self._number_of(key, self._scan())
        return None if number is None else self.proposal(number)

    def proposal(self, number: int) -> Proposal | None:
        """See :class:`GitHost`. Raises InputError (G202) where the record was not written by this host."""
        found = self._load(number)
        return None if found is None else self._view(found[1])

    def proposals(self, state: ProposalState | None = None) -> tuple[Proposal, ...]:
        """See :class:`GitHost`. Branches are read once for all, so this is one moment's picture but for their histories."""
        branches = self.repository.refs("refs/heads")
        heads = self.repository.refs(PULLS)
        known = branches | heads
        views = [
            self._view(record, known.get)
            for _, record in sorted(self._scan().items(), reverse=True)
            if isinstance(record, _Record) and (state in (None, record.state) or record.state is ProposalState.OPEN)
        ]
        return tuple(view for view in views if state is None or view.state is state)

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
        """See :class:`GitHost`."""
        self._require_bare()
        judge_texts(key, title, meta)
        for _ in range(ATTEMPTS):
            known = self._scan()
            number = self._number_of(key, known)
            if number is not None:
                return self._complete(number)
            self._judge_branches(base, branch, commit)
            number = max(known, default=0) + 1
            if number > MAX_NUMBER:
                raise OutsideError(
                    f"{PULLS}/{number - 1} is the last number there is; remove refs that are no proposals"
                )
            record = _Record(number, key, title, body, base, branch, commit, self.identity, self._now(), meta)
            raw = record.to_bytes()
            if len(raw) > MAX_RECORD:
                raise InputError(Problem("G201", got=f"{len(raw)} bytes of text", expected=f"at most {MAX_RECORD}"))
            moves = (
                RefMove(_meta_ref(number), self.repository.write_blob(raw), None),
                RefMove(_head_ref(number), commit, None),
                RefMove(branch_ref(branch), commit, self.repository.resolve(branch_ref(branch))),
            )
            try:
                self.repository.update_refs(moves)
            except RefConflictError:
                continue  # another caller was faster: look again, it may have been for the same key
            return self._view(record)
        raise OutsideError(
            f"no number for a proposal after {ATTEMPTS} attempts; too many others open proposals, try again"
        )

    def merge(
        self,
        number: int,
        expected_head: str,
        expected_base: str,
        merger: GitIdentity,
        trailers: Sequence[tuple[str, str]] = (),
    ) -> Merged | NotReady:
        """See :class:`GitHost`."""
        self._require_bare()
        for _ in range(ATTEMPTS):
            found = self._load(number)
            if found is None:
                return NotReady(Obstacle.MISSING, f"proposal {number}")
            try:
                return self._merge_once(*found, expected_head, expected_base, merger, trailers)
            except RefConflictError:
                continue  # something moved since it was read: judge again
        raise OutsideError(f"proposal {number} keeps moving; try again")

    def close(self, number: int, reason: str) -> Proposal | None:
        """See :class:`GitHost`."""
        self._require_bare()
        for _ in range(ATTEMPTS):
            found = self._load(number)
            if found is None:
                return None
            meta_sha, record = found
            view = self._view(record)
            if record.state is not ProposalState.OPEN:
                return view
            if view.merged is not None:
                record = self._merged(record, view.head, view.merged.sha)
            else:
                record = replace(
                    record,
                    state=ProposalState.CLOSED,
                    final_head=view.head,
                    closed_reason=reason,
                    ended_at=self._now(),
                )
            try:
                self.repository.update_ref(_meta_ref(number), self.repository.write_blob(record.to_bytes()), meta_sha)
            except RefConflictError:
                continue
            return self._view(record)
        raise OutsideError(f"proposal {number} keeps moving; try again")

    # ------------------------------------------------------------ parts

    def _merge_once(
        self,
        meta_sha: str,
        record: _Record,
        expected_head: str,
        expected_base: str,
        merger: GitIdentity,
        trailers: Sequence[tuple[str, str]],
    ) -> Merged | NotReady:
        number, repository = record.number, self.repository
        base_ref = branch_ref(record.base_branch)
        pull_head, head, branch_tip = self._heads(record, repository.resolve)
        tip = repository.resolve(base_ref)
        if record.state is ProposalState.MERGED:
            if expected_head == record.final_head:
                return Merged(record.merged)
            return NotReady(
                Obstacle.HEAD_MOVED, f"merged with head {record.final_head[:12]}, expected {expected_head[:12]}"
            )
        if record.state is ProposalState.CLOSED:
            return NotReady(Obstacle.CLOSED, record.closed_reason)
        known = expected_head in (pull_head, record.commit)
        if known and tip is not None and repository.is_ancestor(expected_head, tip):
            ended = self._merged(record, expected_head, self._brought_by(expected_head, tip))
            repository.update_ref(_meta_ref(number), repository.write_blob(ended.to_bytes()), meta_sha)
            return Merged(ended.merged)
        if head != expected_head:
            return NotReady(Obstacle.HEAD_MOVED, f"{head[:12]}, expected {expected_head[:12]}")
        if tip != expected_base:
            return NotReady(Obstacle.BASE_MOVED, f"{(tip or 'nothing')[:12]}, expected {expected_base[:12]}")
        if repository.is_ancestor(head, tip):
            return NotReady(Obstacle.EMPTY, f"{head[:12]} in {record.base_branch}")
        message = f"Merge proposal {number}: {record.title}\n\n" + format_trailers(
            [(PROPOSAL_TRAILER, str(number)), *trailers]
        )
        merged = repository.merge(tip, head, merger, merger, message, self._now())
        if isinstance(merged, MergeConflict):
            return NotReady(Obstacle.CONFLICT, ", ".join(merged.paths) or merged.reason)
        ended = self._merged(record, head, merged)
        repository.update_refs(
            (
                # What was judged must hold until the end, so the branch is checked within the transaction. The head comes
                # before the base: should git be killed half way, the merge is recognised by it.
                RefMove(branch_ref(record.branch), branch_tip, branch_tip),
                RefMove(_head_ref(number), head, repository.resolve(_head_ref(number))),
                RefMove(base_ref, merged, tip),
                RefMove(_meta_ref(number), repository.write_blob(ended.to_bytes()), meta_sha),
            )
        )
        return Merged(merged)

    def _complete(self, number: int) -> Proposal:
        """The proposal, with the refs that a crash while it was opened left out."""
        found = self._load(number)
        if found is None:
            raise OutsideError(f"proposal {number} has vanished; somebody removes refs below {PULLS}")
        record = found[1]
        if record.state is ProposalState.OPEN and self.repository.resolve(_head_ref(number)) is None:
            for ref in (branch_ref(record.branch), _head_ref(number)):
                try:
                    self.repository.update_ref(ref, record.commit, None)
                except RefConflictError:
                    continue  # it is there: written before the crash, or by another caller just now
        return self._view(record)

    def _view(self, record: _Record, resolve: Callable[[str], str | None] | None = None) -> Proposal:
        resolve = resolve or self.repository.resolve
        pull_head, head, _ = self._heads(record, resolve)
        base = resolve(branch_ref(record.base_branch)) or ""
        if record.state is ProposalState.OPEN and base and self.repository.is_ancestor(pull_head, base):
            record, head = self._merged(record, pull_head, self._brought_by(pull_head, base)), pull_head
        return Proposal(
            number=record.number,
            key=record.key,
            state=record.state,
            base_branch=record.base_branch,
            base=record.merged_into or base,
            branch=record.branch,
            head=head,
            title=record.title,
            body=record.body,
            opened_by=record.opened_by,
            opened_at=record.opened_at,
            meta=record.meta,
            merged=Merged(record.merged) if record.merged else None,
            closed_reason=record.closed_reason,
        )

    @staticmethod
    def _heads(record: _Record, resolve: Callable[[str], str | None]) -> tuple[str, str, str | None]:
        """The head that the host has recorded, the one that counts now, and where the branch is."""
        tip = resolve(branch_ref(record.branch))
        if record.final_head:
            return record.final_head, record.final_head, tip
        recorded = resolve(_head_ref(record.number)) or record.commit
        return recorded, tip or recorded, tip

    def _brought_by(self, head: str, tip: str) -> str:
        """The oldest commit on the first-parent line of ``tip`` that contains ``head``."""
        line: list[str] = []
        for info in self.repository.first_parents(tip):
            line.append(info.sha)
            if head == info.sha or head in info.parents[1:]:
                return info.sha
        low, high = 0, len(line)  # line[low] contains head; containing it is monotone along the line
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.repository.is_ancestor(head, line[middle]) else (low, middle)
        return line[low]

    def _scan(self) -> dict[int, _Record | str]:
        """Every number that is taken, with its record, or with what is wrong with it."""
        shas: dict[int, str] = {}
        for ref, sha in self.repository.refs(PULLS).items():
            match = _META_REF.fullmatch(ref)
            if match is not None and int(match[1]) <= MAX_NUMBER:
                number = int(match[1])
                shas[number] = sha if ref.endswith("/meta") else shas.get(number, "")
        # A listing is no snapshot: of two proposals that were opened while it was made it may show only the later one.
        # Numbers are given out without gaps, so a gap near the end is looked at again.
        top = max(shas, default=0)
        for number in range(max(1, top - ATTEMPTS), top):
            if not shas.get(number):
                late = self.repository.resolve(_meta_ref(number))
                if late is not None:
                    shas[number] = late
        self._read([(number, sha) for number, sha in shas.items() if sha])
        return {number: self._records[number, sha] if sha else "no record" for number, sha in shas.items()}

    def _load(self, number: int) -> tuple[str, _Record] | None:
        if not 1 <= number <= MAX_NUMBER:
            return None
        sha = self.repository.resolve(_meta_ref(number))
        if sha is None:
            return None
        self._read([(number, sha)])
        record = self._records[number, sha]
        if isinstance(record, str):
            raise InputError(Problem("G202", field=_meta_ref(number), got="a record that cannot be read", hint=record))
        return sha, record

    def _read(self, wanted: Sequence[tuple[int, str]]) -> None:
        """Records by number and blob, which never change, so each is read once."""
        missing = [pair for pair in wanted if pair not in self._records]
        if not missing:
            return
        try:
            contents = self.repository.read_blobs([sha for _, sha in missing], MAX_RECORD)
        except InputError:
            if len(missing) > 1:
                for pair in missing:
                    self._read([pair])
                return
            self._records[missing[0]] = f"no blob of at most {MAX_RECORD} bytes"
            return
        for pair, content in zip(missing, contents, strict=True):
            try:
                self._records[pair] = _Record.parse(pair[0], content)
            except ValueError as error:
                self._records[pair] = str(error)

    @staticmethod
    def _number_of(key: str, records: Mapping[int, _Record | str]) -> int | None:
        return min(
            (n for n, record in records.items() if isinstance(record, _Record) and record.key == key), default=None
        )

    def _merged(self, record: _Record, head: str, sha: str) -> _Record:
        parents = self.repository.commit(sha).parents
        return replace(
            record,
            state=ProposalState.MERGED,
            final_head=head,
            merged=sha,
            merged_into=parents[0] if parents else sha,
            ended_at=self._now(),
        )

    def _now(self) -> datetime:
        return self._clock().astimezone(UTC).replace(microsecond=0)

    def _require_bare(self) -> None:
        if not self.repository.is_bare:
            raise InputError(
                Problem(
                    "G204",
                    got=f"{quoted(str(self.repository.path))} with a working tree",
                    expected="a bare repository",
                    hint="'git clone --bare' makes one",
                )
            )

    def _judge_branches(self, base: str, branch: str, commit: str) -> None:
        tip = self.repository.resolve(checked_branch("base", base))
        there = self.repository.resolve(checked_branch("branch", branch))
        if tip is None:
            raise missing_base(base)
        if there is not None and there != commit:
            raise branch_elsewhere(branch, there, commit)
        self.repository.commit(commit)
        if base == branch or self.repository.is_ancestor(commit, tip):
            raise nothing_new(commit, base)


def _meta_ref(number: int) -> str:
    return f"{PULLS}/{number}/meta"


def _head_ref(number: int) -> str:
    return f"{PULLS}/{number}/head"


def checked_branch(field: str, name: str) -> str:
    """The full ref of a branch. Raises InputError (G203) for a name that git would refuse."""
    try:
        return branch_ref(name)
    except ValueError as error:
        raise InputError(
            Problem("G203", field=field, got=quoted(name), expected=str(error).removeprefix("expected "))
        ) from error


def missing_base(base: str) -> InputError:
    """There is no branch to propose to."""
    return InputError(Problem("G203", field="base", got=f"no branch {quoted(base)}", expected="a branch that exists"))


def branch_elsewhere(branch: str, there: str, commit: str) -> InputError:
    """The branch to be proposed is at another commit; ``there`` is "" where it is gone."""
    got = f"{quoted(branch)} at {there[:12] or 'nothing'}"
    return InputError(Problem("G203", field="branch", got=got, expected=f"a new branch, or one at {commit[:12]}"))


def nothing_new(commit: str, base: str) -> InputError:
    """What is proposed is in the base already."""
    got = f"{commit[:12]} is in {quoted(base)}"
    return InputError(Problem("G203", field="commit", got=got, expected="something new"))


def judge_texts(key: str, title: str, meta: Mapping[str, Json]) -> None:
    """Raises InputError (G201) for what no host would keep as it is given."""
    for field, text, limit in (("key", key, MAX_KEY), ("title", title, MAX_TITLE)):
        if not text.strip() or len(text) > limit or not text.isprintable():
            raise InputError(
                Problem(
                    "G201", field=field, got=quoted(text), expected=f"one line of 1 to {limit} printable characters"
                )
            )
    try:
        canonical_json(dict(meta))
    except CanonicalError as error:
        raise InputError(
            Problem("G201", field="meta", got=str(error), expected="strings, integers, lists and objects")
        ) from error
