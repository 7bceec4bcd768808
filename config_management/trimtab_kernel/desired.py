"""The desired document: what one device group should run. Written by the renderer, obeyed by the agent.

It is canonical JSON (see :mod:`trimtab_kernel.canonical`), so numbers that are not whole are strings. The reader takes
bytes that may come from anywhere: it checks size, shape and every field, and refuses what it does not know.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeVar

from trimtab_kernel import vocabulary
from trimtab_kernel.canonical import CanonicalError, Json, canonical_json
from trimtab_kernel.decisions import Facts, Row, TableError, row_from, row_json
from trimtab_kernel.identity import Digest, IdentityError, Version, parse_label_name, parse_name
from trimtab_kernel.problems import InputError, Problem, quoted
from trimtab_kernel.records import dataclass
from trimtab_kernel.waves import is_member

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_BYTES = 1024 * 1024  # a ConfigMap holds no more (Kubernetes: total data <= 1 MiB)
MAX_MODELS = 1000
KIND = "DesiredDocument"
_T = TypeVar("_T")
_UNWRITABLE = re.compile("[\x00\ud800-\udfff]")  # no file name, label or UTF-8 text holds these
# The name becomes a path below the zones' folder.
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}", re.ASCII)
_DECIMAL = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Artifact:
    """One variant of one version of a model: verified bytes, by digest. ``size`` in bytes."""

    version: str
    tier: str
    format: str
    quantization: str
    uri: str
    digest: Digest
    size: int


@dataclass(frozen=True, slots=True)
class Cohort:
    """One cohort of the sensitive attribute: an exact value, or a half-open range ``low <= x < high`` (None = open)."""

    name: str
    value: Decimal | None = None
    low: Decimal | None = None
    high: Decimal | None = None

    def holds(self, x: float) -> bool:
        """Whether an input value belongs to this cohort. NaN belongs to none."""
        if self.value is not None:
            return x == float(self.value)
        return (self.low is None or x >= float(self.low)) and (self.high is None or x < float(self.high))


@dataclass(frozen=True, slots=True)
class Alignment:
    """Which input column is the sensitive attribute, and which output is the decision.

    ``positive`` is the value of output ``outcome_output`` that counts as the positive outcome. ``score_output`` (None: the
    model tells none) is the output with the calibrated probability, 0 to 1, of the positive label: one value per row, or
    those in ``score_column``.
    """

    attribute_input: str
    attribute_column: int
    cohorts: tuple[Cohort, ...]
    outcome_output: str
    positive: Decimal
    score_output: str | None = None
    score_column: int | None = None


@dataclass(frozen=True, slots=True)
class UpdateWindow:
    """When an update may begin: from minute ``begin`` of the local day until minute ``end``, past midnight where it is less.

    ``time_zone`` is an IANA name; None is the zone that the device itself is set to. ``ways_back``: whether a version that
    is older than the active one may come at any time.
    """

    begin: int
    end: int
    time_zone: str | None = None
    ways_back: bool = True

    @classmethod
    def parse(cls, text: str, time_zone: str | None = None, *, ways_back: bool = True) -> UpdateWindow:
        """Of text such as ``22:00-05:00``, which is well formed."""
        begin, end = (int(each[:2]) * 60 + int(each[3:]) for each in text.split("-"))
        return cls(begin, end, time_zone, ways_back)

    def holds(self, minute: int) -> bool:
        """Whether a minute of the local day lies within it; the last one does not."""
        if self.begin < self.end:
            return self.begin <= minute < self.end
        return minute >= self.begin or minute < self.end

    def __str__(self) -> str:
        """As people write it, with its zone."""
        begin, end = (f"{minute // 60:02}:{minute % 60:02}" for minute in (self.begin, self.end))
        return f"{begin}-{end} {self.time_zone or 'local time'}"


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a device must meet before it updates. None means: not asked for.

    Battery in percent, memory in MB (10^6 bytes), ``network`` one of ``WIFI`` | ``UNMETERED`` | ``ANY``.
    """

    min_battery: int | None = None
    network: str | None = None
    min_memory_mb: int | None = None
    min_os_version: str | None = None
    min_api_level: int | None = None
    window: UpdateWindow | None = None


@dataclass(frozen=True, slots=True)
class OffloadTarget:
    """A V2 endpoint that may take requests of a constrained device, and the jurisdiction that it is in.

    ``when`` names the constraints under which it may (see :data:`OFFLOAD_REASONS`); empty means under each of them. A
    reason that a device does not know never arises there.
    """

    endpoint: str
    jurisdiction: str
    when: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InferenceRules:
    """How much inference one device may do for one model. None means: no limit, and no offload.

    ``daily_data`` in bytes of input and output tensors, per calendar day in UTC like ``daily_cpu_seconds``.
    """

    maximum_per_minute: int | None = None
    daily_cpu_seconds: Decimal | None = None
    daily_data: int | None = None
    offload: OffloadTarget | None = None


OFFLOAD_REASONS = ("frequency", "cpu", "overload")
"""What may constrain a device so that an offload helps. Out of daily data it does not: it would move more of it."""


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """What policies ask about one version: whether it is signed, its day of release, and the pipeline it comes from."""

    version: str
    signed: bool
    released: str | None = None
    released_day: int | None = None
    pipeline: str | None = None


@dataclass(frozen=True, slots=True)
class ModelPolicy:
    """Which tables of the document judge the model, and what they ask that stands nowhere else.

    ``newest_day`` is the day of the model's newest release, in days since 1970-01-01.
    """

    tables: tuple[str, ...]
    capabilities: tuple[str, ...] = ()
    versions: tuple[VersionFacts, ...] = ()
    newest: str | None = None
    newest_day: int | None = None


@dataclass(frozen=True, slots=True)
class DesiredModel:
    """One model of the group: the target, who gets it, and what the others run.

    ``percent`` is the share of devices in the current wave (0 to 100, exact). ``stable`` is what devices outside the
    wave run; None means that they keep what they have.
    """

    model: str
    kind: str
    namespace: str
    name: str
    salt: str
    percent: Fraction
    target: Artifact
    stable: Artifact | None
    source_digest: Digest
    alignment: Alignment | None = None
    conditions: Conditions = Conditions()
    tags: tuple[tuple[str, str], ...] = ()
    flags: tuple[tuple[str, bool], ...] = ()
    inference: InferenceRules | None = None
    policy: ModelPolicy | None = None

    def choose(self, device_id: str) -> Artifact | None:
        """What this device should run; None means: keep what is there, and nothing on an empty device."""
        return self.target if is_member(self.salt, device_id, self.percent) else self.stable


@dataclass(frozen=True, slots=True)
class DesiredDocument:
    """Everything that the devices of one group should run.

    ``tables`` are the rules of policy that devices judge by before a version is activated, by the name that models refer to.
    """

    group: str
    namespace: str
    jurisdiction: str
    models: tuple[DesiredModel, ...]
    tables: tuple[tuple[str, tuple[Row, ...]], ...] = ()

    def rows(self, model: DesiredModel) -> tuple[Row, ...]:
        """The rows that judge ``model``; () where nothing does."""
        tables = dict(self.tables)
        return () if model.policy is None else tuple(row for name in model.policy.tables for row in tables[name])

    def facts(self, model: DesiredModel, artifact: Artifact, day: int) -> Facts:
        """What the rows are asked about running ``artifact`` of ``model`` on this ``day`` (since 1970-01-01).

        No clock is right that shows a day before the version was released: then that day counts.
        """
        policy = model.policy or ModelPolicy(())
        version: dict[str, object] = {"version": artifact.version, "size": artifact.size, "signed": False}
        for known in policy.versions:
            if known.version == artifact.version:
                version["signed"] = known.signed
                version |= {"released": known.released, "released_day": known.released_day, "pipeline": known.pipeline}
                day = max(day, known.released_day or 0)
        found: dict[str, object] = {
            "subject": {"kind": model.kind, "namespace": model.namespace, "name": model.name, "group": self.group},
            "group": {"jurisdiction": self.jurisdiction},
            "model": {
                "name": model.model,
                "capabilities": list(policy.capabilities),
                "newest": policy.newest,
                "newest_day": policy.newest_day,
                "versions": [version],
            },
            "tags": dict(model.tags),
            "as_of_day": max(day, policy.newest_day or 0),
        }
        rules = model.inference
        if rules is not None:
            found["inference"] = {"maximum_per_minute": rules.maximum_per_minute}
            if rules.offload is not None:
                found["offload"] = {"endpoint": rules.offload.endpoint, "jurisdiction": rules.offload.jurisdiction}
        return found

    def to_json(self) -> dict[str, Json]:
        """The document as plain JSON values, models sorted by model, kind, namespace and name."""
        ordered = sorted(self.models, key=_order)
        return {
            **self._tables_json(),
            "apiVersion": vocabulary.API_DESIRED,
            "kind": KIND,
            "group": self.group,
            "namespace": self.namespace,
            "jurisdiction": self.jurisdiction,
            "models": [_model_json(model) for model in ordered],
        }

    def to_bytes(self) -> bytes:
        """The canonical bytes."""
        return canonical_json(self.to_json())

    def to_bytes_of(self, texts: Mapping[str, bytes]) -> bytes:
        """The same, put together of the canonical bytes of each model (see :func:`model_bytes`), by the model's name.

        For a writer of many documents that share most of their models. Each name must be there once.
        """
        listed = b",".join(texts[model.model] for model in sorted(self.models, key=_order))
        head = canonical_json(
            {"apiVersion": vocabulary.API_DESIRED, "group": self.group, "jurisdiction": self.jurisdiction, "kind": KIND}
        )
        tables = self._tables_json()
        tail = b"," + canonical_json(tables)[1:] if tables else b"}"
        return head[:-1] + b',"models":[' + listed + b'],"namespace":' + canonical_json(self.namespace) + tail

    def _tables_json(self) -> dict[str, Json]:
        """Nothing where no policy asks anything of devices: such a document is what it was before there were tables."""
        if not self.tables:
            return {}
        return {"tables": {name: [row_json(row) for row in rows] for name, rows in self.tables}}


def _order(model: DesiredModel) -> tuple[str, str, str, str]:
    return model.model, model.kind, model.namespace, model.name


def model_bytes(model: DesiredModel) -> bytes:
    """The canonical bytes of one model, as they stand in the document's."""
    return canonical_json(_model_json(model))


def _artifact_json(artifact: Artifact) -> dict[str, Json]:
    return {
        "version": artifact.version,
        "tier": artifact.tier,
        "format": artifact.format,
        "quantization": artifact.quantization,
        "uri": artifact.uri,
        "digest": str(artifact.digest),
        "size": artifact.size,
    }


def _decimal_text(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent_text(percent: Fraction) -> str:
    """A percentage as exact text: ``10``, ``0.5``; one without a finite decimal form as ``1/3``."""
    if percent.denominator == 1:
        return str(percent.numerator)
    value = Decimal(percent.numerator) / Decimal(percent.denominator)
    return _decimal_text(value) if Fraction(value) == percent else f"{percent.numerator}/{percent.denominator}"


def _version_json(version: VersionFacts) -> dict[str, Json]:
    data: dict[str, Json] = {"version": version.version, "signed": version.signed}
    if version.released is not None:
        data["released"] = version.released
    if version.released_day is not None:
        data["releasedDay"] = version.released_day
    if version.pipeline is not None:
        data["pipeline"] = version.pipeline
    return data


def _policy_json(policy: ModelPolicy) -> dict[str, Json]:
    data: dict[str, Json] = {
        "tables": list(policy.tables),
        "capabilities": list(policy.capabilities),
        "versions": [_version_json(version) for version in policy.versions],
    }
    if policy.newest is not None:
        data["newest"] = policy.newest
    if policy.newest_day is not None:
        data["newestDay"] = policy.newest_day
    return data


def _window_json(window: UpdateWindow) -> dict[str, Json]:
    data: dict[str, Json] = {"from": window.begin, "until": window.end}
    if window.time_zone is not None:
        data["timeZone"] = window.time_zone
    if not window.ways_back:
        data["waysBack"] = False
    return data


def alignment_json(alignment: Alignment) -> dict[str, Json]:
    """The shape that the desired document and a model's ``model.yaml`` share; :func:`parse_alignment` reads it back."""
    cohorts: dict[str, Json] = {}
    for cohort in alignment.cohorts:
        bounds = {"value": cohort.value, "low": cohort.low, "high": cohort.high}
        cohorts[cohort.name] = {key: _decimal_text(value) for key, value in bounds.items() if value is not None}
    outcome: dict[str, Json] = {"output": alignment.outcome_output, "positive": _decimal_text(alignment.positive)}
    if alignment.score_output is not None:
        score: dict[str, Json] = {"output": alignment.score_output}
        if alignment.score_column is not None:
            score["column"] = alignment.score_column
        outcome["score"] = score
    return {
        "attribute": {"input": alignment.attribute_input, "column": alignment.attribute_column, "cohorts": cohorts},
        "outcome": outcome,
    }


def inference_json(rules: InferenceRules) -> dict[str, Json]:
    """The shape that the desired document and a model's ``model.yaml`` share; :func:`parse_inference` reads it back."""
    found: dict[str, Json] = {}
    if rules.maximum_per_minute is not None:
        found["maximumPerMinute"] = rules.maximum_per_minute
    if rules.daily_cpu_seconds is not None:
        found["dailyCpuSeconds"] = _decimal_text(rules.daily_cpu_seconds)
    if rules.daily_data is not None:
        found["dailyData"] = rules.daily_data
    if rules.offload is not None:
        target = rules.offload
        found["offload"] = {
            "endpoint": target.endpoint,
            "jurisdiction": target.jurisdiction,
            "when": list(target.when),
        }
    return found


def _model_json(model: DesiredModel) -> dict[str, Json]:
    data: dict[str, Json] = {
        "model": model.model,
        "kind": model.kind,
        "deployment": {"namespace": model.namespace, "name": model.name},
        "rollout": {"salt": model.salt, "percent": percent_text(model.percent)},
        "target": _artifact_json(model.target),
        "stable": _artifact_json(model.stable) if model.stable else None,
        "sourceDigest": str(model.source_digest),
        "tags": dict(model.tags),
        "flags": dict(model.flags),
    }
    if model.alignment:
        data["alignment"] = alignment_json(model.alignment)
    conditions: dict[str, Json] = {
        "minBattery": model.conditions.min_battery,
        "network": model.conditions.network,
        "minMemoryMB": model.conditions.min_memory_mb,
        "minOSVersion": model.conditions.min_os_version,
        "minAPILevel": model.conditions.min_api_level,
    }
    conditions = {key: value for key, value in conditions.items() if value is not None}
    if model.conditions.window is not None:
        conditions["window"] = _window_json(model.conditions.window)
    if conditions:
        data["conditions"] = conditions
    if model.inference:
        data["inference"] = inference_json(model.inference)
    if model.policy:
        data["policy"] = _policy_json(model.policy)
    return data


def parse_desired(content: bytes, file: str = vocabulary.DESIRED_FILE) -> DesiredDocument:
    """Read a desired document from untrusted bytes.

    Raises :class:`InputError` (codes E201 to E203) that names the field, what was got and what was expected.
    """
    if len(content) > MAX_BYTES:
        raise InputError(Problem("E201", file, 0, "", f"{len(content)} bytes", f"at most {MAX_BYTES} bytes"))
    try:
        data = json.loads(
            content.decode("utf-8"),
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
            object_pairs_hook=_each_key_once,
        )
    except (ValueError, RecursionError) as error:
        raise InputError(
            Problem("E202", file, 0, "", quoted(str(error)), "a JSON object in UTF-8 without floats")
        ) from None
    reader = _Reader(file)
    return reader.document(data)


def parse_alignment(value: object, file: str, place: str = "alignment") -> Alignment:
    """Read an alignment from plain JSON values. Raises :class:`InputError` (E203) that names ``file`` and the field."""
    return _Reader(file).alignment(value, place)


def parse_inference(value: object, file: str, place: str = "inference") -> InferenceRules:
    """Read inference rules from plain JSON values. Raises :class:`InputError` (E203) that names ``file`` and the field."""
    return _Reader(file).inference(value, place)


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Readers disagree on which of two equal keys wins: what was signed off could be another document than what runs.
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _refuse_number(text: str) -> float:
    raise ValueError(f"number {text[:40]} is not an integer")


class _Reader:
    """Walks plain JSON values and raises on the first bad field: the writer is our own renderer, so one is enough."""

    def __init__(self, file: str) -> None:
        self.file = file

    def fail(self, place: str, got: object, expected: str) -> InputError:
        return InputError(Problem("E203", self.file, 0, place, quoted(got), expected))

    def obj(
        self, value: object, place: str, required: frozenset[str], optional: frozenset[str] = frozenset()
    ) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.fail(place, type(value).__name__, "an object")
        for key in value:
            if key not in required and key not in optional:
                raise self.fail(
                    f"{place}.{key}" if place else str(key),
                    "an unknown field",
                    f"one of {', '.join(sorted(required | optional))}",
                )
        for key in sorted(required - value.keys()):
            raise self.fail(f"{place}.{key}" if place else key, "nothing", "a value")
        return value

    def text(self, value: object, place: str, limit: int = 2048) -> str:
        if not isinstance(value, str) or len(value) > limit:
            raise self.fail(place, value, f"a string of at most {limit} characters")
        if _UNWRITABLE.search(value):
            raise self.fail(place, value, "a string without NUL and lone surrogates")
        return value

    def key(self, value: object, place: str, limit: int) -> str:
        """A key of an object: text that canonical JSON can sort."""
        text = self.text(value, place, limit)
        if any(ord(character) > 0xFFFF for character in text):
            raise self.fail(place, text, "keys of the Basic Multilingual Plane")
        return text

    def integer(self, value: object, place: str, low: int, high: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.fail(place, value, f"an integer from {low} to {high}")
        return value

    def parsed(self, value: object, place: str, parse: Callable[[str], _T]) -> _T:
        text = self.text(value, place)
        try:
            return parse(text)
        except (IdentityError, ValueError) as error:
            raise self.fail(place, text, str(error).removeprefix("expected ")) from None

    def decimal(self, value: object, place: str) -> Decimal:
        text = self.text(value, place)
        if not _DECIMAL.fullmatch(text):
            raise self.fail(place, text, "a decimal number in a string")
        try:
            return Decimal(text)
        except InvalidOperation:  # unreachable after the pattern, kept so that no foreign exception can leave
            raise self.fail(place, text, "a decimal number in a string") from None

    def document(self, value: object) -> DesiredDocument:
        data = self.obj(
            value,
            "",
            frozenset({"apiVersion", "kind", "group", "namespace", "jurisdiction", "models"}),
            frozenset({"tables"}),
        )
        if data["apiVersion"] != vocabulary.API_DESIRED or data["kind"] != KIND:
            raise self.fail("kind", f"{data['apiVersion']} {data['kind']}", f"{vocabulary.API_DESIRED} {KIND}")
        models = data["models"]
        if not isinstance(models, list) or len(models) > MAX_MODELS:
            raise self.fail("models", type(models).__name__, f"a list of at most {MAX_MODELS} models")
        parsed = tuple(self.model(item, f"models[{index}]") for index, item in enumerate(models))
        names = [model.model for model in parsed]
        for name in names:
            if names.count(name) > 1:
                raise self.fail("models", name, "each model once")
        jurisdiction = self.text(data["jurisdiction"], "jurisdiction", 64)
        for index, model in enumerate(parsed):
            offload = model.inference.offload if model.inference else None
            if offload is not None and offload.jurisdiction != jurisdiction:
                place = f"models[{index}].inference.offload.jurisdiction"
                raise self.fail(place, offload.jurisdiction, f"the group's jurisdiction, {quoted(jurisdiction)}")
        tables = self.tables(data.get("tables", {}))
        for index, model in enumerate(parsed):
            for name in () if model.policy is None else model.policy.tables:
                if name not in tables:
                    raise self.fail(f"models[{index}].policy.tables", name, "tables of this document")
        return DesiredDocument(
            self.parsed(data["group"], "group", parse_label_name),
            self.parsed(data["namespace"], "namespace", parse_label_name),
            jurisdiction,
            parsed,
            tuple(sorted(tables.items())),
        )

    def tables(self, value: object) -> dict[str, tuple[Row, ...]]:
        if not isinstance(value, dict) or len(value) > 1000:
            raise self.fail("tables", type(value).__name__, "an object of at most 1000 tables")
        return {self.key(name, "tables", 300): self.rows(rows, f"tables.{name}") for name, rows in value.items()}

    def rows(self, value: object, place: str) -> tuple[Row, ...]:
        if not isinstance(value, list) or len(value) > 256:
            raise self.fail(place, type(value).__name__, "a list of at most 256 rows")
        try:
            canonical_json(value)  # what the document is written from again
            return tuple(map(row_from, value))
        except (TableError, CanonicalError) as error:
            raise self.fail(place, str(error), "rows of a decision table") from None

    def policy(self, value: object, place: str) -> ModelPolicy:
        data = self.obj(
            value, place, frozenset({"tables", "capabilities", "versions"}), frozenset({"newest", "newestDay"})
        )
        return ModelPolicy(
            tuple(self.text(item, f"{place}.tables", 300) for item in self.listed(data["tables"], f"{place}.tables")),
            tuple(
                self.text(item, f"{place}.capabilities", 256)
                for item in self.listed(data["capabilities"], f"{place}.capabilities")
            ),
            tuple(
                self.version(item, f"{place}.versions") for item in self.listed(data["versions"], f"{place}.versions")
            ),
            self.text(data["newest"], f"{place}.newest", 64) if "newest" in data else None,
            self.integer(data["newestDay"], f"{place}.newestDay", 0, 10**7) if "newestDay" in data else None,
        )

    def version(self, value: object, place: str) -> VersionFacts:
        known = frozenset({"released", "releasedDay", "pipeline"})
        data = self.obj(value, place, frozenset({"version", "signed"}), known)
        return VersionFacts(
            self.text(data["version"], f"{place}.version", 128),
            self.boolean(data["signed"], f"{place}.signed"),
            self.text(data["released"], f"{place}.released", 64) if "released" in data else None,
            self.integer(data["releasedDay"], f"{place}.releasedDay", 0, 10**7) if "releasedDay" in data else None,
            self.text(data["pipeline"], f"{place}.pipeline") if "pipeline" in data else None,
        )

    def listed(self, value: object, place: str) -> list[Any]:
        if not isinstance(value, list) or len(value) > 256:
            raise self.fail(place, type(value).__name__, "a list of at most 256 entries")
        return value

    def model(self, value: object, place: str) -> DesiredModel:
        data = self.obj(
            value,
            place,
            frozenset({"model", "kind", "deployment", "rollout", "target", "stable", "sourceDigest", "tags", "flags"}),
            frozenset({"alignment", "conditions", "inference", "policy"}),
        )
        deployment = self.obj(data["deployment"], f"{place}.deployment", frozenset({"namespace", "name"}))
        rollout = self.obj(data["rollout"], f"{place}.rollout", frozenset({"salt", "percent"}))
        return DesiredModel(
            # The model's name becomes a directory on the device, so it must be a plain name: no slash, no leading dot.
            model=self.parsed(data["model"], f"{place}.model", parse_name),
            kind=self.text(data["kind"], f"{place}.kind", 64),
            namespace=self.parsed(deployment["namespace"], f"{place}.deployment.namespace", parse_label_name),
            name=self.parsed(deployment["name"], f"{place}.deployment.name", parse_name),
            salt=self.text(rollout["salt"], f"{place}.rollout.salt", 1024),
            percent=self.percent(rollout["percent"], f"{place}.rollout.percent"),
            target=self.artifact(data["target"], f"{place}.target"),
            stable=None if data["stable"] is None else self.artifact(data["stable"], f"{place}.stable"),
            source_digest=self.parsed(data["sourceDigest"], f"{place}.sourceDigest", Digest.parse),
            alignment=self.alignment(data["alignment"], f"{place}.alignment") if "alignment" in data else None,
            conditions=self.conditions(data.get("conditions", {}), f"{place}.conditions"),
            tags=tuple(sorted(self.mapping(data["tags"], f"{place}.tags", self.text).items())),
            flags=tuple(sorted(self.mapping(data["flags"], f"{place}.flags", self.boolean).items())),
            inference=self.inference(data["inference"], f"{place}.inference") if "inference" in data else None,
            policy=self.policy(data["policy"], f"{place}.policy") if "policy" in data else None,
        )

    def inference(self, value: object, place: str) -> InferenceRules:
        names = ("maximumPerMinute", "dailyCpuSeconds", "dailyData", "offload")
        data = self.obj(value, place, frozenset(), frozenset(names))

        def number(key: str, low: int, high: int) -> int | None:
            return self.integer(data[key], f"{place}.{key}", low, high) if key in data else None

        cpu = self.decimal(data["dailyCpuSeconds"], f"{place}.dailyCpuSeconds") if "dailyCpuSeconds" in data else None
        if cpu is not None and cpu < 0:
            raise self.fail(f"{place}.dailyCpuSeconds", data["dailyCpuSeconds"], "seconds, not negative")
        return InferenceRules(
            maximum_per_minute=number("maximumPerMinute", 1, 2**31 - 1),
            daily_cpu_seconds=cpu,
            daily_data=number("dailyData", 0, 2**60),
            offload=self.offload(data["offload"], f"{place}.offload") if "offload" in data else None,
        )

    def offload(self, value: object, place: str) -> OffloadTarget:
        data = self.obj(value, place, frozenset({"endpoint", "jurisdiction"}), frozenset({"when"}))
        when = data.get("when", [])
        if not isinstance(when, list) or len(when) > 16:
            raise self.fail(f"{place}.when", when, "a list of at most 16 reasons")
        reasons = tuple(self.text(reason, f"{place}.when", 64) for reason in when)
        endpoint = self.text(data["endpoint"], f"{place}.endpoint")
        if not endpoint.startswith(("https://", "http://")):
            raise self.fail(f"{place}.endpoint", endpoint, "a URL of http or https")
        return OffloadTarget(endpoint, self.text(data["jurisdiction"], f"{place}.jurisdiction", 64), reasons)

    def boolean(self, value: object, place: str) -> bool:
        if not isinstance(value, bool):
            raise self.fail(place, value, "true or false")
        return value

    def mapping(self, value: object, place: str, item: Callable[[object, str], _T]) -> Mapping[str, _T]:
        if not isinstance(value, dict) or len(value) > 100:
            raise self.fail(place, type(value).__name__, "an object of at most 100 entries")
        return {self.key(key, place, 256): item(entry, f"{place}.{key}") for key, entry in value.items()}

    def percent(self, value: object, place: str) -> Fraction:
        text = self.text(value, place, 64)
        try:
            percent = (
                Fraction(text) if re.fullmatch(r"[0-9]{1,20}(\.[0-9]{1,20}|/[0-9]{1,20})?", text, re.ASCII) else None
            )
        except ZeroDivisionError:
            percent = None
        if percent is None or not 0 <= percent <= 100:
            raise self.fail(place, text, "a percentage from 0 to 100")
        return percent

    def artifact(self, value: object, place: str) -> Artifact:
        data = self.obj(value, place, frozenset({"version", "tier", "format", "quantization", "uri", "digest", "size"}))
        version = self.text(data["version"], f"{place}.version", 128)
        self.parsed(version, f"{place}.version", Version.parse)
        return Artifact(
            version=version,
            tier=self.text(data["tier"], f"{place}.tier", 64),
            format=self.text(data["format"], f"{place}.format", 64),
            quantization=self.text(data["quantization"], f"{place}.quantization", 64),
            uri=self.text(data["uri"], f"{place}.uri"),
            digest=self.parsed(data["digest"], f"{place}.digest", Digest.parse),
            size=self.integer(data["size"], f"{place}.size", 0, 2**40),
        )

    def alignment(self, value: object, place: str) -> Alignment:
        data = self.obj(value, place, frozenset({"attribute", "outcome"}))
        attribute = self.obj(data["attribute"], f"{place}.attribute", frozenset({"input", "column", "cohorts"}))
        outcome = self.obj(data["outcome"], f"{place}.outcome", frozenset({"output", "positive"}), frozenset({"score"}))
        score = (
            self.obj(outcome["score"], f"{place}.outcome.score", frozenset({"output"}), frozenset({"column"}))
            if "score" in outcome
            else {}
        )
        cohorts = attribute["cohorts"]
        if not isinstance(cohorts, dict) or not 2 <= len(cohorts) <= 16:
            raise self.fail(f"{place}.attribute.cohorts", type(cohorts).__name__, "an object of 2 to 16 cohorts")
        return Alignment(
            attribute_input=self.text(attribute["input"], f"{place}.attribute.input", 256),
            attribute_column=self.integer(attribute["column"], f"{place}.attribute.column", 0, 2**31 - 1),
            cohorts=tuple(
                self.cohort(name, cohorts[name], f"{place}.attribute.cohorts.{name}") for name in sorted(cohorts)
            ),
            outcome_output=self.text(outcome["output"], f"{place}.outcome.output", 256),
            positive=self.decimal(outcome["positive"], f"{place}.outcome.positive"),
            score_output=self.text(score["output"], f"{place}.outcome.score.output", 256) if score else None,
            score_column=(
                self.integer(score["column"], f"{place}.outcome.score.column", 0, 2**31 - 1)
                if "column" in score
                else None
            ),
        )

    def cohort(self, name: str, value: object, place: str) -> Cohort:
        data = self.obj(value, place, frozenset(), frozenset({"value", "low", "high"}))
        bounds = {key: self.decimal(item, f"{place}.{key}") for key, item in data.items()}
        if not bounds or ("value" in bounds and len(bounds) > 1):
            raise self.fail(place, ", ".join(sorted(bounds)) or "nothing", 'either "value", or "low" and/or "high"')
        return Cohort(self.key(name, place, 64), bounds.get("value"), bounds.get("low"), bounds.get("high"))

    def conditions(self, value: object, place: str) -> Conditions:
        data = self.obj(
            value,
            place,
            frozenset(),
            frozenset({"minBattery", "network", "minMemoryMB", "minOSVersion", "minAPILevel", "window"}),
        )

        def number(key: str, high: int) -> int | None:
            return self.integer(data[key], f"{place}.{key}", 0, high) if key in data else None

        network = data.get("network")
        if network is not None and network not in ("WIFI", "UNMETERED", "ANY"):  # a list or an object has no hash
            raise self.fail(f"{place}.network", network, "WIFI, UNMETERED or ANY")
        return Conditions(
            min_battery=number("minBattery", 100),
            network=network,
            min_memory_mb=number("minMemoryMB", 2**31 - 1),
            min_os_version=self.text(data["minOSVersion"], f"{place}.minOSVersion", 64)
            if "minOSVersion" in data
            else None,
            min_api_level=number("minAPILevel", 10_000),
            window=self.window(data["window"], f"{place}.window") if "window" in data else None,
        )

    def window(self, value: object, place: str) -> UpdateWindow:
        data = self.obj(value, place, frozenset({"from", "until"}), frozenset({"timeZone", "waysBack"}))
        begin, end = (self.integer(data[key], f"{place}.{key}", 0, 1439) for key in ("from", "until"))
        if begin == end:
            raise self.fail(f"{place}.until", end, "another minute than from")
        zone = self.text(data["timeZone"], f"{place}.timeZone", 64) if "timeZone" in data else None
        if zone is not None and not _ZONE.fullmatch(zone):
            raise self.fail(f"{place}.timeZone", zone, "an IANA time zone such as Europe/Berlin")
        return UpdateWindow(begin, end, zone, self.boolean(data.get("waysBack", True), f"{place}.waysBack"))
