"""What the rig's GitHub answers is what GitHub's published OpenAPI description says, endpoint by endpoint."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import referencing
from referencing.jsonschema import DRAFT202012

from tests.repositories import ScratchRepository
from tests.rigs.github import App, GitHubRig, User, github
from tests.rigs.github.server import ROUTES

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

LOCK = Path(__file__).parents[1] / "rigs" / "github" / "openapi"
BOT = User("trimtab[bot]", 77, "token-of-the-bot", "Bot")
ADA = User("ada", 7, "token-of-ada")
BY = {"name": "Ada", "email": "ada@example.com", "date": "2026-11-22T10:00:00Z"}


@pytest.fixture(scope="module")
def description(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The description of api.github.com, from the package that the lock names with its hash."""
    if shutil.which("npm") is None:
        pytest.skip("needs npm (package npm) to fetch GitHub's description")
    folder = tmp_path_factory.mktemp("openapi")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(LOCK / name, folder / name)
    done = subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=folder, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    path = folder / "node_modules" / "@octokit" / "openapi" / "generated" / "api.github.com.json"
    found: dict[str, Any] = _as_json_schema(json.loads(path.read_bytes()))
    return found


def _as_json_schema(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """OpenAPI 3.0's ``nullable`` in the words of JSON Schema; examples are no schemas and are left out."""
    if isinstance(value, list):
        return [_as_json_schema(each) for each in value]
    if not isinstance(value, dict):
        return value
    made = {key: _as_json_schema(each) for key, each in value.items() if key not in ("example", "examples")}
    if value.get("nullable") is True:
        made.pop("nullable")
        return {"anyOf": [made, {"type": "null"}]}
    return made


class Described:
    """The description as something to compare answers with."""

    def __init__(self, description: dict[str, Any]) -> None:
        self.paths = description["paths"]
        resource = DRAFT202012.create_resource(description)
        self.registry: Any = referencing.Registry().with_resource("urn:github", resource)
        self.known = sorted(self.paths, key=lambda path: (-len(re.sub(r"\{\w+\}", "", path)), path))

    def template(self, method: str, path: str) -> str:
        """The described path that an address is of; the one with the most words of its own."""
        for known in self.known:
            # A ref and a range of commits are parameters with slashes and dots in them.
            pattern = re.sub(r"\\\{(ref|basehead)\\\}", ".+", re.escape(known))
            if method.lower() in self.paths[known] and re.fullmatch(re.sub(r"\\\{\w+\\\}", "[^/]+", pattern), path):
                return str(known)
        raise AssertionError(f"GitHub describes no {method} {path}")

    def complaints(self, method: str, path: str, status: int, content: object) -> list[str]:
        """What is not as described."""
        template = self.template(method, path)
        responses = self.paths[template][method.lower()]["responses"]
        if str(status) not in responses:
            return [f"{method} {template}: status {status} is not described"]
        pointer = "/".join(
            each.replace("~", "~0").replace("/", "~1")
            for each in ("paths", template, method.lower(), "responses", str(status))
        )
        answer = responses[str(status)]
        while "$ref" in answer:
            pointer = str(answer["$ref"]).removeprefix("#/")
            answer = self.registry.resolver("urn:github").lookup(f"urn:github#/{pointer}").contents
        if "content" not in answer:
            return [] if content is None else [f"{method} {template}: {status} has no body"]
        media = next(iter(answer["content"])).replace("~", "~0").replace("/", "~1")
        schema = {"$ref": f"urn:github#/{pointer}/content/{media}/schema"}
        checker = jsonschema.Draft202012Validator(schema, registry=self.registry)
        return sorted(
            {
                f"{method} {template} {status}: {error.json_path}: {error.message[:160]}"
                for error in _leaves(checker, content)
            }
        )


def _leaves(checker: Any, content: object) -> Iterator[Any]:  # noqa: ANN401 - a validator
    for error in checker.iter_errors(content):
        yield from error.context or [error]


def ask(rig: GitHubRig, user: User, method: str, path: str, content: object = None) -> tuple[int, Any]:
    """One request, without the network: what :meth:`GitHubRig.handle` answers is what is sent."""
    body = b"" if content is None else json.dumps(content).encode()
    status, answer, _ = rig.handle(method, path, user.token, body)
    return status, answer


def exercise(rig: GitHubRig, scratch: ScratchRepository) -> Iterator[tuple[str, str, int, Any]]:
    """Every endpoint once at least, in an order in which each has something to say; good answers and refusals."""
    repo, base = "/repos/acme/fleet", scratch.tip()

    def told(method: str, path: str, content: object = None, user: User = BOT) -> Any:  # noqa: ANN401 - any JSON
        status, answer = ask(rig, user, method, path, content)
        seen.append((method, path.partition("?")[0], status, answer))
        return answer

    seen: list[tuple[str, str, int, Any]] = []
    told("GET", "/user")
    told("GET", "/users/ada")
    told("GET", "/users/nobody")
    told("GET", repo)
    blob = told("POST", f"{repo}/git/blobs", {"content": base64.b64encode(b"b: 2\n").decode(), "encoding": "base64"})
    told("GET", f"{repo}/git/blobs/{blob['sha']}")
    entry = {"path": "b.yaml", "mode": "100644", "type": "blob", "sha": blob["sha"]}
    tree = told("POST", f"{repo}/git/trees", {"base_tree": f"{base}^{{tree}}", "tree": [entry]})
    told("GET", f"{repo}/git/trees/{tree['sha']}?recursive=1")
    commit = {"message": "B", "tree": tree["sha"], "parents": [base], "author": BY, "committer": BY}
    head = told("POST", f"{repo}/git/commits", commit)["sha"]
    told("GET", f"{repo}/git/commits/{head}")
    told("GET", f"{repo}/git/commits/{'0' * 40}")
    told("POST", f"{repo}/git/refs", {"ref": "refs/heads/b", "sha": head})
    told("POST", f"{repo}/git/refs", {"ref": "refs/heads/b", "sha": head})
    told("GET", f"{repo}/git/ref/heads/b")
    told("GET", f"{repo}/git/ref/heads/none")
    told("PATCH", f"{repo}/git/refs/heads/b", {"sha": base})
    told("PATCH", f"{repo}/git/refs/heads/b", {"sha": head})
    told("GET", f"{repo}/commits")
    told("GET", f"{repo}/commits/{head}")
    told("GET", f"{repo}/compare/{base}...{head}")
    told("POST", f"{repo}/pulls", {"title": "B", "head": "b", "base": "main", "body": "text"})
    told("POST", f"{repo}/pulls", {"title": "B", "head": "b", "base": "main"})
    for _ in range(2):
        told("GET", f"{repo}/pulls/1")
    told("GET", f"{repo}/pulls/9")
    told("GET", f"{repo}/pulls?state=all")
    told("PATCH", f"{repo}/pulls/1", {"title": "B, again"})
    rig.review(1, ADA, "APPROVED", "fine")
    told("GET", f"{repo}/pulls/1/reviews")
    mine = told("POST", f"{repo}/pulls/1/reviews", {"event": "APPROVE", "commit_id": head, "body": "mine"}, ADA)
    told("PUT", f"{repo}/pulls/1/reviews/{mine['id']}/dismissals", {"message": "no more", "event": "DISMISS"}, ADA)
    told("POST", f"{repo}/pulls/1/reviews", {"event": "APPROVE", "commit_id": head})
    told("GET", f"{repo}/issues/1")
    number = told("POST", f"{repo}/issues/1/comments", {"body": "hello"})["id"]
    rig.say(1, ADA, "hi")
    told("GET", f"{repo}/issues/1/comments")
    told("GET", f"{repo}/issues/comments/{number}")
    told("PATCH", f"{repo}/issues/comments/{number}", {"body": "hello again"})
    told("DELETE", f"{repo}/issues/comments/{number}")
    run = {"name": "proof", "head_sha": head, "status": "completed", "conclusion": "success"}
    check = told("POST", f"{repo}/check-runs", {**run, "output": {"title": "proven", "summary": "all"}})
    told("PATCH", f"{repo}/check-runs/{check['id']}", {"conclusion": "failure"})
    told("GET", f"{repo}/commits/{head}/check-runs")
    told("POST", f"{repo}/statuses/{head}", {"state": "success", "context": "proof", "description": "proven"})
    told("GET", f"{repo}/commits/{head}/status")
    told("PUT", f"{repo}/pulls/1/merge", {"sha": base})
    told("PUT", f"{repo}/pulls/1/merge", {"sha": head})
    told("GET", f"{repo}/pulls/1")
    yield from seen


def test_every_answer_of_the_rig_is_as_github_describes_it(description: dict[str, Any], tmp_path: Path) -> None:
    scratch = ScratchRepository.create(tmp_path / "fleet.git")
    scratch.commit({"a.yaml": b"a: 1\n"}, branch="main")
    described = Described(description)
    with github(scratch.path, BOT, ADA) as rig:
        rig.app = App(9, "trimtab", 123, "", BOT)
        seen = list(exercise(rig, scratch))
        asked = {(method, path) for method, path, _, _ in seen}
        good = {(method, path) for method, path, status, _ in seen if status < 300}
        for method, pattern, _ in ROUTES:
            whole = re.compile(pattern.replace("{repo}", "/repos/acme/fleet"))
            assert any(method == each and whole.fullmatch(path) for each, path in good), (method, pattern, asked)
        for as_app in (rig.app_json(), rig.app_token_json({})):
            path = "/app" if "slug" in as_app else "/app/installations/123/access_tokens"
            seen.append(("GET" if path == "/app" else "POST", path, 200 if path == "/app" else 201, as_app))
        found = [line for each in seen for line in described.complaints(*each)]
    assert found == [], f"{len(found)}:\n" + "\n".join(found)
    assert len(seen) > 40
