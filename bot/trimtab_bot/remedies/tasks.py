"""Remedies that order work: an optimisation or a retraining, as a file that a workflow of the repository runs on.

The order goes the way of every other change (proposed, decided, merged), so that it is dispatched once, by the push of
the merge, wherever the repository lives: a workflow that runs ``on: push: paths: [tasks/*.json]`` on GitHub, a hook on a
bare repository. No object of the fleet changes by it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trimtab_bot.inbox.interface import FactKind
from trimtab_bot.moments import moment_text
from trimtab_bot.records import FactLine
from trimtab_bot.remedies.interface import Draft, Impossible, Outcome
from trimtab_bot.remedies.options import Option, read_options, schema_of
from trimtab_bot.remedies.proof import prove
from trimtab_bot.remedies.targets import DEPLOYMENTS, find_object, model_and_version, reached
from trimtab_kernel.problems import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trimtab_bot.remedies.interface import Wish
    from trimtab_kernel.canonical import Json

FOLDER = "tasks"
_GOAL = Option("goal", "what it is to reach, in a word or a figure", r"[!-~]{1,128}")


@dataclass(frozen=True, slots=True)
class TaskRemedy:
    """One registered step, ``optimise`` or ``retrain``."""

    name: str
    says: str
    bars_authors: bool = False

    @property
    def schema(self) -> Mapping[str, Json]:
        """See the port."""
        return schema_of((_GOAL,))

    def plan(self, wish: Wish) -> Outcome:
        """See the port."""
        options = read_options((_GOAL,), wish.options)
        if isinstance(options, str):
            return Impossible("B308", options)
        fleet = wish.fleet
        document = find_object(fleet, wish.target, DEPLOYMENTS)
        if isinstance(document, Impossible):
            return document
        model, version = model_and_version(document)
        groups = reached(fleet, document)
        order = {
            "task": self.name,
            "model": model,
            "version": version,
            "deployment": f"{document.kind} {document.metadata.namespace}/{document.metadata.name}",
            "groups": list(groups),
            "base": fleet.commit,
            "askedBy": wish.by,
            "reason": wish.reason,
            "at": moment_text(wish.at),
            **options,
        }
        path = self._path(wish, re.sub(r"[^A-Za-z0-9._-]", "-", f"{model}-{version}"))
        content = (json.dumps(order, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
        facts = prove(fleet.files, {path: content}, [])
        if isinstance(facts, Impossible):
            return facts
        dispatched = FactLine("Dispatches", f"the workflow that runs on {path}, once, by the merge", FactKind.FACT)
        return Draft(
            title=printable(f"{self.name.capitalize()} {model} {version}: {wish.reason}", 150),
            changes={f"{wish.prefix}{path}": content},
            good_version=version,
            restored_commit="",
            verified=True,
            hold_until="",
            facts=(*facts, dispatched),
            model=model,
            version=version,
            groups=groups,
            removes_version=False,
        )

    def _path(self, wish: Wish, name: str) -> str:
        """A file that nobody has yet."""
        number = 1
        while True:
            path = f"{FOLDER}/{self.name}-{name}{f'-{number}' if number > 1 else ''}.json"
            if wish.history.repository.file(wish.fleet.commit, f"{wish.prefix}{path}") is None:
                return path
            number += 1


TASKS = (
    TaskRemedy("optimise", "order an optimisation of a model (quantisation, pruning)"),
    TaskRemedy("retrain", "order a retraining of a model"),
)
