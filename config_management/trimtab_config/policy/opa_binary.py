"""The ``opa`` program: builds and tests bundles, and judges by Rego sources where there is no bundle or no wasmtime."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab_config.policy.answers import FAILED, INPUT, UNDEFINED, batches, decisions_of, engine_denial, is_object
from trimtab_config.policy.bundle import ENTRY_POINT, PolicyBundle, RuleText
from trimtab_kernel.canonical import canonical_json
from trimtab_kernel.problems import InputError, OutsideError, Problem, printable, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trimtab_config.policy.interface import Decision
    from trimtab_kernel.canonical import Json

CORE = Path(__file__).parent / "core"
"""Rego that every bundle is built with: the entry point, the shape of inputs, what rules share."""
CAPABILITIES = CORE / "capabilities.json"
"""The functions that a policy may call: those that WebAssembly has too, and that answer the same in every engine."""
_RULES = "data.trimtab.rules."
_QUERY = f"data.{ENTRY_POINT.replace('/', '.')}"
_PLACE = re.compile(r"^(?:error: )?(?P<file>\S+?\.rego):(?P<line>[0-9]+): (?P<text>.*)$")
_MOST_OUTPUT = 64 * 2**20
_SHIPPED_INPUTS = "inputs_test.rego"
_IGNORED = ("*_test.rego", "*.yaml", "*.md")


@dataclass(frozen=True, slots=True)
class TestReport:
    """Outcome of ``opa test``: names of the tests that failed, how many there are, and the coverage in percent."""

    failed: tuple[str, ...]
    count: int
    coverage: float
    uncovered: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Opa:
    """The program. ``timeout`` in seconds holds for each call. All methods raise OutsideError where it does not run."""

    program: Path
    timeout: float = 120.0

    @classmethod
    def found(cls, program: str = "opa") -> Opa:
        """The program of this name or path. Raises OutsideError where there is none."""
        path = shutil.which(program)
        if path is None:
            raise OutsideError(f"found no program {quoted(program)}; install OPA, or name it with --opa PATH")
        return cls(Path(path))

    def version(self) -> str:
        """Such as ``1.22.2``."""
        text = self._run("version").stdout.decode(errors="replace")
        match = re.search(r"^Version: (\S+)$", text, re.MULTILINE)
        return match[1] if match else "unknown"

    def check(self, folders: Sequence[Path]) -> tuple[Problem, ...]:
        """What OPA (strict, with our capabilities) and the rules for rules have against the sources (F506)."""
        done = self._run(
            "check", "--strict", "--capabilities", CAPABILITIES, *_ignoring("*.yaml", "*.md"), CORE, *folders
        )
        if done.returncode:
            return _source_problems(done.stderr.decode(errors="replace"))
        return self._texts(folders)[1] or self._unasked(folders)

    def test(self, folders: Sequence[Path]) -> TestReport:
        """Run every ``_test.rego``. Raises InputError (F506) where the sources do not even compile.

        The tests of what every bundle is built with run beside the shipped rules, whose inputs they change. Beside rules of
        somebody's own they do not, and the coverage is of those rules alone.
        """
        with tempfile.TemporaryDirectory(prefix="trimtab-policy-") as work:
            own = not any((folder / _SHIPPED_INPUTS).exists() for folder in folders)
            core = Path(work) / _copied(CORE, Path(work), 0) if own else CORE
            asked: list[str | Path] = ["--format=json", "--capabilities", CAPABILITIES, *_ignoring("*.yaml"), core]
            asked += folders
            done = self._run("test", "--coverage", *asked)
            try:
                covered: Any = json.loads(done.stdout)
            except ValueError:
                raise InputError(*_source_problems((done.stderr or done.stdout).decode(errors="replace"))) from None
            results = self._run("test", *asked)
        cases: list[Any] = json.loads(results.stdout or b"[]") or []
        failed = [f"{case['package']}.{case['name']}" for case in cases if case.get("fail") or case.get("error")]
        files: dict[str, Any] = covered.get("files", {}) if isinstance(covered, dict) else {}
        judged = {
            name: file for name, file in files.items() if not own or not Path(name).is_relative_to(Path(work).resolve())
        }
        uncovered = [
            f"{name}:{span['start']['row']}"
            for name, file in sorted(judged.items())
            for span in file.get("not_covered") or []
        ]
        reached = sum(int(file.get("covered_lines", 0)) for file in judged.values())
        left = sum(int(file.get("not_covered_lines", 0)) for file in judged.values())
        total = 100.0 * reached / (reached + left) if reached + left else 0.0
        return TestReport(tuple(sorted(failed)), len(cases), round(total, 4), tuple(uncovered))

    def build(self, folders: Sequence[Path]) -> PolicyBundle:
        """The bundle of the Rego (and ``data.json``) below ``folders``. Raises InputError (F506)."""
        problems = self.check(folders)
        if problems:
            raise InputError(*problems)
        with tempfile.TemporaryDirectory(prefix="trimtab-policy-") as work:
            made = Path(work) / "bundle.tar.gz"
            # The module holds the names of its files, so they must not depend on where somebody keeps them.
            places = [_copied(folder, Path(work) / "sources", index) for index, folder in enumerate((CORE, *folders))]
            # Without -O: optimizing loses parentheses in OPA 1.22.
            done = self._run(
                "build", "--target=wasm", f"--entrypoint={ENTRY_POINT}", f"--output={made}",
                "--capabilities", CAPABILITIES, *places, cwd=Path(work) / "sources",
            )  # fmt: skip
            if done.returncode:
                raise InputError(*_source_problems(done.stderr.decode(errors="replace")))
            module, data = _unpacked(made.read_bytes())
        rules, _ = self._texts(folders)
        return PolicyBundle(
            module, data, {rule.name: rule for rule in rules}, digests_of([CORE, *folders]), f"opa {self.version()}"
        )

    def evaluate(self, folders: Sequence[Path], document: bytes) -> subprocess.CompletedProcess[bytes]:
        """The entry point's value for one input, as ``opa eval`` prints it."""
        places = [argument for folder in (CORE, *folders) for argument in ("--data", str(folder))]
        return self._run(
            "eval", "--stdin-input", "--format=json", *_ignoring(*_IGNORED), "--capabilities", CAPABILITIES,
            *places, _QUERY, stdin=document,
        )  # fmt: skip

    def _texts(self, folders: Sequence[Path]) -> tuple[list[RuleText], tuple[Problem, ...]]:
        """What the sources say of each rule, and what they should say and do not (F506)."""
        rules: dict[str, RuleText] = {}
        problems = []
        for folder in (CORE, *folders):
            done = self._run("inspect", "--annotations", "--format=json", folder)
            if done.returncode:
                return [], _source_problems(done.stderr.decode(errors="replace"))
            found: dict[str, Any] = json.loads(done.stdout)
            written = {_path_of(item): item for item in found.get("annotations") or []}
            for package, files in sorted((found.get("namespaces") or {}).items()):
                sources = [name for name in files if not name.endswith("_test.rego")]
                if not package.startswith(_RULES) or not sources:
                    continue
                item = written.get(package, {})
                name = package.removeprefix(_RULES).replace("_", "-")
                source = Path(sources[0])
                shown = source.relative_to(folder).as_posix() if source.is_relative_to(folder) else source.name
                notes = item.get("annotations", {})
                text = RuleText(
                    name,
                    str(notes.get("title", "")),
                    str(notes.get("description", "")).strip(),
                    str(notes.get("custom", {}).get("unblock", "")).strip(),
                    f"{folder.name}/{shown}",
                )
                rules[name] = text
                missing = [part for part in ("title", "why", "unblock") if not getattr(text, part)]
                if missing or name.count(".") != 1:
                    got = f"rule {name} without {', '.join(missing)}" if missing else f"package {package}"
                    expected = "package trimtab.rules.DOMAIN.RULE with METADATA: title, description, custom.unblock"
                    problems.append(Problem("F506", str(source), 1, got=got, expected=expected))
        return [rules[name] for name in sorted(rules)], tuple(problems)

    def _unasked(self, folders: Sequence[Path]) -> tuple[Problem, ...]:
        """Rules that the entry point would never hear (F506): what nobody asks refuses nothing, and nobody would notice."""
        problems, asked = [], set()
        packages: dict[str, tuple[Path, int]] = {}
        for folder in folders:
            before = len(packages)
            for path in _sources(folder):
                if path.suffix != ".rego":
                    continue
                try:
                    parsed: dict[str, Any] = json.loads(self._run("parse", "--format=json", path).stdout)
                    package = ".".join(str(part["value"]) for part in parsed["package"]["path"])
                    heads = [rule["head"] for rule in parsed.get("rules") or ()]
                except (ValueError, LookupError, TypeError):
                    problems.append(Problem("F506", str(path), got="what opa parse cannot read", expected="Rego"))
                    continue
                findings = [head for head in heads if head.get("name") == "finding" or _begins(head, "finding")]
                if package.startswith(_RULES):
                    packages.setdefault(package, (path, 1))
                    if any(head.get("key") is not None for head in findings):
                        asked.add(package)
                elif findings:
                    got = f"finding in {package}, which nobody asks"
                    problems.append(
                        Problem("F506", str(path), 1, got=got, expected="package trimtab.rules.DOMAIN.RULE")
                    )
            if len(packages) == before and not problems:
                expected = "Rego with package trimtab.rules.DOMAIN.RULE"
                problems.append(Problem("F506", str(folder), got="no rule", expected=expected))
        for package, (path, line) in packages.items():
            if package not in asked:
                got = f"package {package.removeprefix('data.')} without a set finding"
                expected = "finding contains {field, got, expected} if {...}"
                problems.append(Problem("F506", str(path), line, got=got, expected=expected))
        return tuple(problems)

    def _run(
        self, *arguments: str | Path, stdin: bytes = b"", cwd: Path | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        command = [str(self.program.absolute()), *map(str, arguments)]
        try:
            done = subprocess.run(command, input=stdin, capture_output=True, timeout=self.timeout, check=False, cwd=cwd)
        except subprocess.TimeoutExpired as error:
            raise OutsideError(f"{self.program.name} {arguments[0]} took more than {self.timeout:g} s") from error
        except OSError as error:
            raise OutsideError(f"cannot run {self.program}: {error.strerror or error}") from error
        if len(done.stdout) > _MOST_OUTPUT:
            raise OutsideError(f"{self.program.name} {arguments[0]} said more than {_MOST_OUTPUT} bytes")
        return done


class OpaPolicyEngine:
    """A PolicyEngine that runs ``opa eval`` on sources: one process for each batch, so slow; nothing to build first."""

    def __init__(self, opa: Opa, folders: Sequence[Path]) -> None:
        self._opa = opa
        self._folders = tuple(folders)
        sources: dict[str, Json] = dict(sorted(digests_of([CORE, *self._folders]).items()))
        self._digest = hashlib.sha256(canonical_json(sources)).hexdigest()
        self._titles = {rule.name: rule.title for rule in opa._texts(self._folders)[0]}

    @property
    def digest(self) -> str:
        """As PolicyEngine says."""
        return self._digest

    def decide(self, requests: Sequence[bytes]) -> Sequence[Decision]:
        """As PolicyEngine says."""
        found: list[Decision] = []
        for places in batches(requests, 2000, 16 * 2**20):
            some = [requests[place] for place in places]
            together = self._answers(some) if all(map(is_object, some)) else None
            found += [self._alone(request) for request in some] if together is None else together
        return found

    def _alone(self, request: bytes) -> Decision:
        if not is_object(request):
            return engine_denial(INPUT, f"{len(request)} bytes that are no JSON object", "an input document")
        done = self._opa.evaluate(self._folders, b'{"requests":[' + request + b"]}")
        if done.returncode:
            said = printable(done.stdout.decode(errors="replace"), 200)
            return engine_denial(FAILED, f"opa eval ended with {done.returncode}: {said}")
        found = decisions_of(_value(done.stdout), 1, self._titles)
        return engine_denial(UNDEFINED, "an undefined result") if found is None else found[0]

    def _answers(self, requests: Sequence[bytes]) -> list[Decision] | None:
        done = self._opa.evaluate(self._folders, b'{"requests":[' + b",".join(requests) + b"]}")
        return None if done.returncode else decisions_of(_value(done.stdout), len(requests), self._titles)


def digests_of(folders: Iterable[Path]) -> dict[str, str]:
    """Hex SHA-256 of each source below ``folders``, by path from the folder's own name on; tests are left out."""
    found = {}
    for folder in folders:
        for path in _sources(folder):
            name = f"{folder.resolve().name}/{path.relative_to(folder).as_posix()}"
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _sources(folder: Path) -> list[Path]:
    """What rules are made of: Rego that is no test, and data."""
    found = []
    for path in sorted(folder.rglob("*")):
        is_rego = path.suffix == ".rego" and not path.name.endswith("_test.rego")
        if path.is_file() and (is_rego or path.name == "data.json"):
            found.append(path)
    return found


def _begins(head: dict[str, Any], name: str) -> bool:
    """Whether the head of a rule, as opa parse tells it, is of this name."""
    reference = head.get("ref") or [{}]
    return bool(reference[0].get("value") == name)


def _copied(folder: Path, work: Path, index: int) -> str:
    """The sources below ``folder``, copied into ``work`` under a name that says nothing of where they were."""
    name = f"{index}-{folder.resolve().name}"
    for path in _sources(folder):
        target = work / name / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    (work / name).mkdir(parents=True, exist_ok=True)
    return name


def _ignoring(*patterns: str) -> list[str]:
    return [f"--ignore={pattern}" for pattern in patterns]


def _value(output: bytes) -> object:
    try:
        return json.loads(output)["result"][0]["expressions"][0]["value"]
    except (ValueError, LookupError, TypeError):
        return None


def _path_of(item: dict[str, Any]) -> str:
    return ".".join(str(part.get("value", "")) for part in item.get("path", []))


def _unpacked(archive: bytes) -> tuple[bytes, bytes]:
    """Module and data of what ``opa build`` wrote."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as opened:
        for member in opened:
            name = member.name.lstrip("/")
            file = opened.extractfile(member) if name in {"policy.wasm", "data.json"} else None
            if file is not None:
                found[name] = file.read()
    return found["policy.wasm"], canonical_json(json.loads(found["data.json"]))


def _source_problems(said: str) -> tuple[Problem, ...]:
    """One problem for each place that OPA names; one for all of what it says where it names none."""
    problems = []
    for line in said.splitlines():
        match = _PLACE.match(line.removeprefix("error: ").removeprefix("1 error occurred: "))
        if match:
            problems.append(Problem("F506", match["file"], int(match["line"]), got=printable(match["text"], 300)))
    return tuple(problems) or (Problem("F506", got=printable(" ".join(said.split()), 500) or "no reason given"),)
