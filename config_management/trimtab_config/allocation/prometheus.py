"""A telemetry history from answers of Prometheus: files of ``/api/v1/query_range`` in JSON, one for each quantity.

Each point of a series tells of the hour before it, so ``step`` is an hour and every time is a whole hour; the expression
is an increase or an aggregate over one hour, by device_group, device, model and version (joules also by grade). docs/money.md
lists the queries. A quantity whose file is not given is 0, joules are then absent, and the model counts as ready all the
time. A key and hour that the CPU seconds do not know is refused: cost without use would be made up. Pure.

Source of the format: Prometheus HTTP API, "Range queries" (resultType matrix).
"""

from __future__ import annotations

import datetime
import json
import math
from typing import TYPE_CHECKING, Any

from trimtab_config.allocation.history import SOURCES
from trimtab_kernel.problems import InputError, Problem, quoted
from trimtab_kernel.vocabulary import LABEL_DEVICE, LABEL_DEVICE_GROUP

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CPU, JOULES, UPTIME = "cpu_seconds", "joules", "uptime"
QUANTITIES = (CPU, JOULES, "bytes_up", "bytes_down", "inferences", "memory_peak", UPTIME)
_COUNTS = ("bytes_up", "bytes_down", "inferences", "memory_peak")
_LABELS = (LABEL_DEVICE_GROUP, LABEL_DEVICE, "model", "version")
_HOUR = 3600

Key = tuple[str, str, str, str, int]


def history_rows(answers: Mapping[str, bytes]) -> list[dict[str, Any]]:
    """The rows of a history (:mod:`trimtab_config.allocation.history`), sorted. ``answers`` are the files by quantity.

    Raises InputError (F408) for an answer that is not such a matrix, a point between two hours, or a row without CPU time.
    """
    if CPU not in answers:
        raise _wrong(CPU, "no file of it", "the CPU seconds, at least")
    found: dict[str, dict[Key, float]] = {}
    grades: dict[Key, str] = {}
    for quantity, content in answers.items():
        if quantity not in QUANTITIES:
            raise _wrong(quantity, quoted(quantity), f"one of {', '.join(QUANTITIES)}")
        values: dict[Key, float] = {}
        for labels, key, value in _points(quantity, content):
            values[key] = values.get(key, 0.0) + value
            if quantity == JOULES:
                grade = labels.get("grade", "declared")
                if grade not in SOURCES:
                    raise _wrong(quantity, f"grade {quoted(grade)}", f"one of {', '.join(SOURCES)}")
                grades[key] = max(grade, grades.get(key, SOURCES[0]), key=SOURCES.index)
        found[quantity] = values
    for quantity, values in found.items():
        for key in values:
            if key not in found[CPU]:
                raise _wrong(quantity, f"{_text(key)} without CPU seconds", "CPU seconds for each hour that is told of")
    return [_row(key, found, grades) for key in sorted(found[CPU])]


def _row(key: Key, found: Mapping[str, Mapping[Key, float]], grades: Mapping[Key, str]) -> dict[str, Any]:
    group, device, model, version, at = key
    joules = found.get(JOULES, {}).get(key)
    end = datetime.datetime.fromtimestamp(at, datetime.UTC).replace(tzinfo=None)
    uptime = found[UPTIME].get(key, 0.0) if UPTIME in found else float(_HOUR)
    return {
        "device": device,
        "device_group": group,
        "model": model,
        "version": version,
        "start": end - datetime.timedelta(seconds=_HOUR),
        "end": end,
        "cpu_seconds": found[CPU][key],
        "joules": joules,
        "joules_source": "absent" if joules is None else grades[key],
        **{name: round(found.get(name, {}).get(key, 0.0)) for name in _COUNTS},
        # An average over an hour whose first samples came late is a little above 1.
        "uptime": min(uptime, float(_HOUR)),
    }


def _points(quantity: str, content: bytes) -> Iterator[tuple[dict[str, str], Key, float]]:
    """Labels, key and value of each point; one that is not a number is no point, as Prometheus means it."""
    try:
        answer = json.loads(content)
        data = answer["data"]
        if answer["status"] != "success" or data["resultType"] != "matrix":
            raise _wrong(quantity, f"{answer['status']}, {data['resultType']}", "a range query that succeeded (matrix)")
        for series in data["result"]:
            labels = series["metric"]
            missing = [label for label in _LABELS if not isinstance(labels.get(label), str)]
            if missing:
                raise _wrong(quantity, f"a series without {', '.join(missing)}", f"series by {', '.join(_LABELS)}")
            name = tuple(labels[label] for label in _LABELS)
            for at, text in series["values"]:
                value = float(text)
                if at % _HOUR:
                    raise _wrong(
                        quantity, f"a point at {at}", "points at whole hours (step=3600, start at a whole hour)"
                    )
                if math.isnan(value):
                    continue
                if value < 0 or math.isinf(value):
                    raise _wrong(quantity, f"{text} at {at}", "numbers >= 0")
                yield labels, (*name, int(at)), value
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _wrong(quantity, f"{type(error).__name__}: {error}", "an answer of /api/v1/query_range in JSON") from None


def _text(key: Key) -> str:
    group, device, model, version, at = key
    return f"{model} {version} on {group}/{device} at {at}"


def _wrong(quantity: str, got: str, expected: str) -> InputError:
    return InputError(Problem("F408", field=f"--prometheus {quantity}", got=got[:200], expected=expected))
