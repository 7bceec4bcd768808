"""A policy bundle: rules as WebAssembly, and what people read about them. Built by OPA, checked by digest when it is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from trimtab_kernel.canonical import Json, canonical_json
from trimtab_kernel.problems import InputError, Problem, quoted
from trimtab_kernel.records import dataclass, field

MANIFEST = "manifest.json"
MODULE = "policy.wasm"
DATA = "data.json"
ENTRY_POINT = "trimtab/main/decisions"
FORMAT = 1
MOST_BYTES = 16 * 2**20
_MAGIC = b"\0asm\1\0\0\0"


@dataclass(frozen=True, slots=True)
class RuleText:
    """One rule for people: its title, why it exists, how to get unblocked, and the file it stands in."""

    name: str
    title: str
    why: str
    unblock: str
    source: str

    def to_json(self) -> dict[str, Json]:
        """As it stands in the manifest."""
        return {
            "rule": self.name,
            "title": self.title,
            "why": self.why,
            "unblock": self.unblock,
            "source": self.source,
        }


@dataclass(frozen=True, slots=True)
class PolicyBundle:
    """Rules as one WebAssembly module (of ``opa build -t wasm``), the data they read, and their texts by name.

    ``sources`` are the files that it was built from, with the hex SHA-256 of each; ``builder`` names what built it.
    """

    module: bytes
    data: bytes
    rules: Mapping[str, RuleText] = field(compare=False)
    sources: Mapping[str, str] = field(compare=False)
    builder: str = field(compare=False)

    @property
    def digest(self) -> str:
        """Hex SHA-256 over module and data: what is decided rests on nothing else."""
        return hashlib.sha256(hashlib.sha256(self.module).digest() + hashlib.sha256(self.data).digest()).hexdigest()

    @property
    def titles(self) -> dict[str, str]:
        """Titles by the names of rules."""
        return {name: rule.title for name, rule in self.rules.items()}

    def files(self) -> dict[str, bytes]:
        """The bundle as files; :func:`read_bundle` reads them again."""
        manifest: dict[str, Json] = {
            "format": FORMAT,
            "digest": self.digest,
            "entryPoint": ENTRY_POINT,
            "builder": self.builder,
            "rules": [self.rules[name].to_json() for name in sorted(self.rules)],
            "sources": dict(sorted(self.sources.items())),
        }
        text = json.dumps(manifest, indent=1, ensure_ascii=False, sort_keys=True)
        return {MANIFEST: f"{text}\n".encode(), MODULE: self.module, DATA: self.data}


def read_bundle(files: Mapping[str, bytes], name: str = "") -> PolicyBundle:
    """The bundle in ``files``; ``name`` is what messages call it. Raises InputError (F505)."""
    for file in (MANIFEST, MODULE, DATA):
        if file not in files:
            raise _refused(name, f"no {file}", "manifest.json, policy.wasm and data.json")
        if len(files[file]) > MOST_BYTES:
            raise _refused(f"{name}/{file}", f"{len(files[file])} bytes", f"at most {MOST_BYTES}")
    try:
        manifest = json.loads(files[MANIFEST])
        rules = [RuleText(**_texts(rule)) for rule in manifest["rules"]]
        made = PolicyBundle(
            files[MODULE],
            canonical_json(json.loads(files[DATA])),
            {rule.name: rule for rule in rules},
            {str(path): str(digest) for path, digest in manifest["sources"].items()},
            str(manifest["builder"]),
        )
        form, digest, entry = manifest["format"], manifest["digest"], manifest["entryPoint"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _refused(f"{name}/{MANIFEST}", "a manifest that cannot be read", "one made by policy build") from error
    if form != FORMAT or entry != ENTRY_POINT:
        raise _refused(f"{name}/{MANIFEST}", f"format {quoted(form)}", f"format {FORMAT}, entry point {ENTRY_POINT}")
    if not made.module.startswith(_MAGIC):
        raise _refused(f"{name}/{MODULE}", "no WebAssembly module", "a module of opa build -t wasm")
    if digest != made.digest:
        raise _refused(name, f"digest {made.digest}", f"{quoted(digest)}, as the manifest says")
    return made


def _texts(rule: Mapping[str, object]) -> dict[str, str]:
    return {
        "name": str(rule["rule"]),
        **{name: str(rule[name]) for name in ("title", "why", "unblock", "source")},
    }


def _refused(file: str, got: str, expected: str) -> InputError:
    return InputError(Problem("F505", file, got=got, expected=expected, hint="build the bundle anew"))
