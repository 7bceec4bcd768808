"""Remedies that set fields of one object: lite tier, inference frequency, offload, limits, and the steps of a rollout."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias

from trimtab_bot.remedies.interface import Draft, Impossible, Outcome
from trimtab_bot.remedies.options import Option, read_options, schema_of
from trimtab_bot.remedies.proof import prove
from trimtab_bot.remedies.targets import DEPLOYMENTS, find_object, model_and_version, reached
from trimtab_bot.rollouts import STEPS, steps_of
from trimtab_config.plan.rollouts import current_wave
from trimtab_config.restore.fields import field_path, set_fields
from trimtab_config.restore.proof import object_key
from trimtab_kernel.problems import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trimtab_bot.remedies.interface import Wish
    from trimtab_config.restore.fields import Value
    from trimtab_config.spec.kinds import Document, Rollout
    from trimtab_kernel.canonical import Json

EDGE = frozenset({"EdgeAIDeployment"})
Fields: TypeAlias = "Mapping[str, Value]"


@dataclass(frozen=True, slots=True)
class FieldRemedy:
    """One registered step. ``fields`` says which fields get which values, or one sentence why there is nothing to do."""

    name: str
    says: str
    title: str
    fields: Callable[[Document, Mapping[str, str]], Fields | str]
    options: tuple[Option, ...] = ()
    kinds: frozenset[str] = EDGE
    bars_authors: bool = False

    @property
    def schema(self) -> Mapping[str, Json]:
        """See the port."""
        return schema_of(self.options)

    def plan(self, wish: Wish) -> Outcome:
        """See the port."""
        options = read_options(self.options, wish.options)
        if isinstance(options, str):
            return Impossible("B308", options)
        document = find_object(wish.fleet, wish.target, self.kinds)
        if isinstance(document, Impossible):
            return document
        wanted = self.fields(document, options)
        if isinstance(wanted, str):
            return Impossible("B313", wanted)
        key = object_key(document)
        edited, problems = set_fields(
            wish.fleet.files, key, {field_path(name): value for name, value in wanted.items()}
        )
        if problems:
            return Impossible("B314", f"{problems[0]}")
        if not edited.changes:
            return Impossible("B313", f"{key} says so already")
        facts = prove(wish.fleet.files, edited.changes, [(key, name) for name in wanted])
        if isinstance(facts, Impossible):
            return facts
        model, version = model_and_version(document)
        shown = ", ".join(f"{name.rpartition('.')[2]} {_text(value)}" for name, value in wanted.items())
        name = f"{document.metadata.namespace}/{document.metadata.name}"
        return Draft(
            title=printable(self.title.format(name=name, shown=shown, model=f"{model} {version}"), 150),
            changes={f"{wish.prefix}{path}": content for path, content in edited.changes.items()},
            good_version=version,
            restored_commit="",
            verified=True,
            hold_until="",
            facts=facts,
            model=model,
            version=version,
            groups=reached(wish.fleet, document),
            removes_version=False,
        )


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "as by default" if value is None else "+".join(value) if isinstance(value, tuple) else str(value)


def _tier(document: Document, options: Mapping[str, str]) -> Fields | str:
    tier = options.get("tier", "lite")
    if document.kind == "OnDeviceModel":
        flag = document.spec.feature_flags.get("lite")
        wanted = tier == "lite"
        return f"its flag lite is {flag} already" if flag is wanted else {"spec.featureFlags.lite": wanted}
    return f"its tier is {tier} already" if document.spec.tier.value == tier else {"spec.tier": tier}


def _frequency(document: Document, options: Mapping[str, str]) -> Fields | str:
    now, wanted = document.spec.inference.maximum_per_minute, int(options["maximumPerMinute"])
    if now is not None and wanted >= now:
        return f"it allows {now} a minute; expected fewer than that"
    return {"spec.inference.maximumPerMinute": Decimal(wanted)}


def _offload(document: Document, options: Mapping[str, str]) -> Fields | str:
    wanted: dict[str, Value] = {
        "spec.offload.endpoint": options["endpoint"],
        "spec.offload.jurisdiction": options["jurisdiction"],
    }
    if "when" in options:
        wanted["spec.offload.when"] = tuple(options["when"].split(","))
    now = document.spec.offload
    if now is None:
        return wanted
    is_so = {"endpoint": str(now.endpoint), "jurisdiction": now.jurisdiction, "when": tuple(now.when)}
    changed = {name: value for name, value in wanted.items() if is_so[name.rpartition(".")[2]] != value}
    return changed or "it offloads there already"


def _limits(_document: Document, options: Mapping[str, str]) -> Fields | str:
    if not options:
        return "no limit is given; expected one of cpu, memory, gpu"
    return {f"spec.resourceLimits.{name}": value for name, value in options.items()}


def _waves(document: Document) -> Rollout:
    rollout: Rollout = steps_of(document.spec) if document.kind == "OnDeviceModel" else document.spec.rollout
    return rollout


_PERCENTAGE = "spec.updateStrategy.rolloutPercentage"


def _pause(document: Document, _options: Mapping[str, str]) -> Fields | str:
    if document.kind == "OnDeviceModel":
        steps = steps_of(document.spec)
        if not steps.waves:
            return "it reaches everybody at once, so there is nothing to pause"
        return "it is paused already" if steps.paused else {_PERCENTAGE: Decimal(0)}
    rollout = document.spec.rollout
    if not rollout.waves:
        return "it has no waves, so there is nothing to pause"
    return "it is paused already" if rollout.paused else {"spec.rollout.paused": True}


def _resume(document: Document, options: Mapping[str, str]) -> Fields | str:
    to = options.get("to", "")
    if document.kind == "OnDeviceModel":
        if not steps_of(document.spec).paused:
            return "it is not paused"
        if to and (not to.isdigit() or int(to) not in STEPS):
            return f"expected a step of {', '.join(map(str, STEPS))} to go on with, not {to}"
        return {_PERCENTAGE: Decimal(to or STEPS[0])}
    if to:
        return "it goes on with the wave that it stands at; nothing else can be asked for"
    return {"spec.rollout.paused": None} if document.spec.rollout.paused else "it is not paused"


def _promote(document: Document, options: Mapping[str, str]) -> Fields | str:
    rollout = _waves(document)
    if rollout.paused:
        return "it is paused; resume it first"
    current = current_wave(rollout)
    names = [wave.name for wave in rollout.waves]
    if current is None:
        return "it has no waves, so there is no next one"
    place = names.index(current.name)
    if place + 1 == len(names):
        return f"it stands at {current.name}, the last wave"
    if options.get("to", names[place + 1]) != names[place + 1]:
        return f"it stands at {current.name}; the next wave is {names[place + 1]}, not {options['to']}"
    if document.kind == "OnDeviceModel":
        return {_PERCENTAGE: Decimal(names[place + 1])}
    return {"spec.rollout.wave": names[place + 1]}


FIELD_REMEDIES = (
    FieldRemedy(
        "tier",
        "switch the tier of a model",
        "Switch {name} to {shown}",
        _tier,
        (Option("tier", "lite, standard, premium or auto; lite unless given", "lite|standard|premium|auto"),),
        DEPLOYMENTS,
    ),
    FieldRemedy(
        "frequency",
        "lower how often a model may be asked",
        "Lower {name} to {shown}",
        _frequency,
        (Option("maximumPerMinute", "a whole number of inferences a minute", required=True, whole_number=True),),
    ),
    FieldRemedy(
        "offload",
        "let constrained devices send requests to a named endpoint",
        "Offload {name} to {shown}",
        _offload,
        (
            Option("endpoint", "the address of a V2 endpoint", r"https?://[!-~]{1,240}", required=True),
            Option("jurisdiction", "whose law holds there", r"[A-Za-z][A-Za-z-]{0,31}", required=True),
            Option("when", "conditions, parted by commas", r"[a-zA-Z][a-zA-Z,-]{0,127}"),
        ),
    ),
    FieldRemedy(
        "limits",
        "right-size the limits of a deployment",
        "Right-size {name}: {shown}",
        _limits,
        tuple(
            Option(name, "a quantity such as 500m or 1Gi", r"[0-9][0-9.]{0,8}[A-Za-z]{0,2}")
            for name in ("cpu", "memory", "gpu")
        ),
    ),
    FieldRemedy("pause", "pause a rollout", "Pause {name} ({model})", _pause, kinds=DEPLOYMENTS),
    FieldRemedy(
        "resume",
        "go on with a paused rollout",
        "Resume {name} ({model})",
        _resume,
        (Option("to", "the percentage of an OnDeviceModel to go on with", r"[0-9]{1,3}"),),
        DEPLOYMENTS,
    ),
    FieldRemedy(
        "promote",
        "promote a rollout to its next wave",
        "Promote {name} ({model}) to {shown}",
        _promote,
        (Option("to", "the next wave's name, or the next percentage", r"[a-z0-9][a-z0-9-]{0,62}"),),
        DEPLOYMENTS,
        bars_authors=True,
    ),
)
