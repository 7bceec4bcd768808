"""What an agent's ``/metrics`` says of its models. Pure; the text comes from a pod and is read within limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from trimtab_kernel import vocabulary
from trimtab_kernel.problems import printable
from trimtab_plugins.reporting.status import AgentReport, ModelReport

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_BYTES = 1 << 20
_MOST_MODELS = 1_000
_LONGEST = 256
_READ = frozenset(
    metric.name
    for metric in (
        vocabulary.AGENT_ACTIVE,
        vocabulary.AGENT_DESIRED,
        vocabulary.AGENT_QUARANTINED,
        vocabulary.AGENT_DOCUMENT_VALID,
    )
)


def agent_report(content: bytes) -> AgentReport:
    """Read the exposition of one agent (text format 0.0.4). Raises ValueError, in words, where it is none of ours."""
    if len(content) > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES} bytes of metrics")
    try:
        # Families that nobody reads here are cut before they are parsed.
        families = list(text_string_to_metric_families("\n".join(_wanted(content.decode().splitlines())) + "\n"))
    except (ValueError, KeyError, IndexError) as error:
        raise ValueError(f"no metrics in text format: {printable(str(error), 100)}") from error
    versions: dict[str, dict[str, str]] = {vocabulary.AGENT_ACTIVE.name: {}, vocabulary.AGENT_DESIRED.name: {}}
    quarantined: dict[str, int] = {}
    valid: bool | None = None
    for family in families:
        for sample in family.samples:
            model, version = sample.labels.get("model", ""), sample.labels.get("version", "")
            if len(model) > _LONGEST or len(version) > _LONGEST:
                raise ValueError(f"a label of more than {_LONGEST} characters")
            # Of what waits for its window the agent says 0: it is desired all the same.
            if sample.name in versions and (sample.value == 1 or sample.name == vocabulary.AGENT_DESIRED.name):
                versions[sample.name][model] = version
            elif sample.name == vocabulary.AGENT_QUARANTINED.name:
                quarantined[model] = int(sample.value > 0)
            elif sample.name == vocabulary.AGENT_DOCUMENT_VALID.name:
                valid = sample.value == 1
    if valid is None:
        raise ValueError(f"no {vocabulary.AGENT_DOCUMENT_VALID.name}: no agent of Trimtab answers there")
    active, desired = versions[vocabulary.AGENT_ACTIVE.name], versions[vocabulary.AGENT_DESIRED.name]
    models = sorted(active.keys() | desired.keys() | quarantined.keys())
    if len(models) > _MOST_MODELS:
        raise ValueError(f"more than {_MOST_MODELS} models")
    return AgentReport(
        valid,
        {name: ModelReport(desired.get(name), active.get(name), quarantined.get(name, 0)) for name in models},
    )


def _wanted(lines: Iterable[str]) -> Iterable[str]:
    return (line for line in lines if line.partition("{")[0].partition(" ")[0] in _READ)
