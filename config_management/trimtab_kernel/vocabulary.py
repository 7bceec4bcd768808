"""Every name that crosses a room: API groups, annotations, labels and metrics. Nothing else may spell them."""

from __future__ import annotations

from enum import Enum

from trimtab_kernel.records import dataclass

API_EDGE = "apexlogic.ai/v1"
API_MOBILE = "mobileai.apexlogic.com/v1"
API_DESIRED = "fleet.apexlogic.ai/v1"

# Annotations on top-level metadata only: in a pod template a change of price would restart a fleet.
COST_MONTHLY = "finops.apexlogic.ai/monthly-cost"
COST_LOW = "finops.apexlogic.ai/monthly-cost-low"
COST_HIGH = "finops.apexlogic.ai/monthly-cost-high"
COST_CURRENCY = "finops.apexlogic.ai/currency"
COST_GRADE = "finops.apexlogic.ai/grade"
COST_PER_1K = "finops.apexlogic.ai/cost-per-1k-inferences"
COST_UPDATE_BYTES = "finops.apexlogic.ai/update-bytes"
COST_PRICE_BOOK = "finops.apexlogic.ai/price-book"
COST_TAG_PREFIX = "finops.apexlogic.ai/tag-"
ALIGNMENT_POLICY = "alignment.apexlogic.ai/policy"
ALIGNMENT_VERDICT = "alignment.apexlogic.ai/verdict"
ALIGNMENT_EVIDENCE = "alignment.apexlogic.ai/evidence"
FLEET_GROUP = "fleet.apexlogic.ai/group"
FLEET_MODEL = "fleet.apexlogic.ai/model"
FLEET_VERSION = "fleet.apexlogic.ai/version"
FLEET_VARIANT = "fleet.apexlogic.ai/variant"
FLEET_WAVE = "fleet.apexlogic.ai/wave"
FLEET_SOURCE_DIGEST = "fleet.apexlogic.ai/source-digest"
FLEET_EGRESS_BY_PORT = "fleet.apexlogic.ai/egress-by-port"
"""On a NetworkPolicy: hosts that it can only open by port, since it knows addresses and no names."""

# Annotations of host tools that rendered objects carry on purpose.
ARGOCD_SYNC_OPTIONS = "argocd.argoproj.io/sync-options"
ARGOCD_KEEP = "Prune=false"
FLUX_PRUNE = "kustomize.toolkit.fluxcd.io/prune"
FLUX_SUBSTITUTE = "kustomize.toolkit.fluxcd.io/substitute"
FLUX_DISABLED = "disabled"

TAGS = ("project", "app", "team", "businessUnit", "feature", "environment")
"""The cost-allocation tags, as they are spelled in manifests."""

DESIRED_FILE = "desired.json"
"""Key of the desired document in its ConfigMap, and its file name where it is mounted."""


class MetricType(Enum):
    """Prometheus metric types that Trimtab exports."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric family: name (with its base unit), type, help text and labels.

    The labels ``device_group`` and ``device`` are target labels: the scrape configuration attaches them, the process
    does not, so that they are spelled once.
    """

    name: str
    kind: MetricType
    help: str
    labels: tuple[str, ...] = ()


LABEL_DEVICE_GROUP = "device_group"
LABEL_DEVICE = "device"

INFERENCE_REQUESTS = Metric(
    "trimtab_inference_requests_total",
    MetricType.COUNTER,
    "Inference requests answered with a result.",
    ("model", "version"),
)
INFERENCE_FAILURES = Metric(
    "trimtab_inference_failures_total",
    MetricType.COUNTER,
    "Inference requests that failed, by reason.",
    ("model", "reason"),
)
INFERENCE_DURATION = Metric(
    "trimtab_inference_duration_seconds",
    MetricType.HISTOGRAM,
    "Time from the last request byte to the first response byte, of whichever version answered.",
    ("model",),
)
INFERENCE_CPU = Metric(
    "trimtab_inference_cpu_seconds_total",
    MetricType.COUNTER,
    "CPU time of the thread that ran the inferences.",
    ("model", "version"),
)
INFERENCE_CPU_SQUARED = Metric(
    "trimtab_inference_cpu_squared_seconds_total",
    MetricType.COUNTER,
    "Sum of squares of the CPU time of each request (seconds squared), so that a mean gets an interval.",
    ("model", "version"),
)
DECISIONS = Metric(
    "trimtab_decisions_total",
    MetricType.COUNTER,
    "Decisions by cohort of the declared sensitive attribute; outcome is positive or negative.",
    ("model", "version", "cohort", "outcome"),
)
INFERENCE_BYTES = Metric(
    "trimtab_inference_bytes_total",
    MetricType.COUNTER,
    "Bytes of the bodies of requests (direction in) and of their responses (out).",
    ("model", "version", "direction"),
)
INFERENCE_QUEUE = Metric(
    "trimtab_inference_queue_seconds_total",
    MetricType.COUNTER,
    "Time that requests waited for a thread, of all models; the rest of their duration is work.",
)
INFERENCE_JOULES = Metric(
    "trimtab_inference_joules_total",
    MetricType.COUNTER,
    "Energy shared out to inferences by CPU time; source is the meter, grade is measured or modelled. Absent without one.",
    ("model", "version", "source", "grade"),
)
LABELLED_DECISIONS = Metric(
    "trimtab_labelled_decisions_total",
    MetricType.COUNTER,
    "Decisions whose true label came, by cohort; outcome and label are positive or negative.",
    ("model", "version", "cohort", "outcome", "label"),
)
SCORED_DECISIONS = Metric(
    "trimtab_scored_decisions_total",
    MetricType.COUNTER,
    "Decisions with a score, the calibrated probability of the positive label.",
    ("model", "version"),
)
EXPECTED_RIGHT_DECISIONS = Metric(
    "trimtab_expected_right_decisions_total",
    MetricType.COUNTER,
    "How many of the scored decisions are expected to be right, by their scores: the share is the accuracy without labels.",
    ("model", "version"),
)
MODEL_READY = Metric(
    "trimtab_model_ready",
    MetricType.GAUGE,
    "1 for the version that answers requests now. Carries what is known of the model, to be joined to other series.",
    (
        "model", "version", "tier", "quantization",
        "project", "app", "team", "business_unit", "feature", "environment",
    ),
)  # fmt: skip
ENERGY = Metric(
    "trimtab_energy_joules_total",
    MetricType.COUNTER,
    "Energy of the whole box by its meter; what inferences got is a part of it. Absent without one.",
    ("source", "grade"),
)
BATTERY_USED = Metric(
    "trimtab_battery_used_ratio_total",
    MetricType.COUNTER,
    "Energy of inferences as a part of the declared capacity of the battery (1 is a full one).",
)
MEMORY_BYTE_SECONDS = Metric(
    "trimtab_memory_byte_seconds_total",
    MetricType.COUNTER,
    "Memory of the server times time: its increase over a window, divided by the window, is the mean in bytes.",
)
MEMORY_PEAK = Metric("trimtab_memory_peak_bytes", MetricType.GAUGE, "Most memory that the server had.")
GPU_JOULES = Metric("trimtab_gpu_joules_total", MetricType.COUNTER, "Energy of a GPU by its own meter.", ("gpu",))
GPU_SECONDS = Metric("trimtab_gpu_busy_seconds_total", MetricType.COUNTER, "Time that a GPU was busy.", ("gpu",))
GPU_MEMORY = Metric("trimtab_gpu_memory_bytes", MetricType.GAUGE, "Memory of a GPU in use.", ("gpu",))
DEVICE_INFO = Metric(
    "trimtab_device_info",
    MetricType.GAUGE,
    "1; what the box is, and how its figures come about: source and grade (measured, modelled or absent) of each kind.",
    (
        "device_type", "os", "os_version", "architecture", "region", "energy_source", "energy_grade", "gpu_grade",
        "memory_source", "battery_grade",
    ),
)  # fmt: skip
UPDATE_BYTES = Metric(
    "trimtab_update_bytes_total", MetricType.COUNTER, "Bytes fetched to update models.", ("model", "version")
)
UPDATES = Metric("trimtab_updates_total", MetricType.COUNTER, "Updates that ended, by result.", ("model", "result"))
AGENT_ACTIVE = Metric(
    "trimtab_agent_active", MetricType.GAUGE, "1 for the version that the agent activated last.", ("model", "version")
)
AGENT_DESIRED = Metric(
    "trimtab_agent_desired",
    MetricType.GAUGE,
    "The version that the desired document asks of this device: 1; 0 while it waits for its update window, or for battery, "
    "network, memory or operating system.",
    ("model", "version"),
)
AGENT_SYNCED = Metric(
    "trimtab_agent_synced_timestamp_seconds", MetricType.GAUGE, "When the agent last read a valid desired document."
)
AGENT_DOCUMENT_VALID = Metric(
    "trimtab_agent_document_valid",
    MetricType.GAUGE,
    "1 if the desired document could be read and obeyed when it was last looked at, else 0.",
)
AGENT_QUARANTINED = Metric(
    "trimtab_agent_quarantined",
    MetricType.GAUGE,
    "Digests of this model that the agent will not try again for now.",
    ("model",),
)

GUARD_ROWS = Metric(
    "trimtab_guard_rows_total",
    MetricType.COUNTER,
    "Rows that gave a declared signal: out_of_range (inputs beyond declared ranges or far from typical rows) or near_boundary "
    "(outputs). Nothing is blocked by it.",
    ("model", "signal"),
)
BUDGET_REQUESTS = Metric(
    "trimtab_budget_requests_total",
    MetricType.COUNTER,
    "Requests that could not run on this device as it was constrained, by decision: offloaded or refused.",
    ("model", "decision"),
)

INFERENCE_BATCHES = Metric(
    "trimtab_inference_batches_total",
    MetricType.COUNTER,
    "Runs of a model that batches requests; its requests over its runs are the mean size of a batch.",
    ("model",),
)
EXPLANATIONS = Metric(
    "trimtab_explanations_sampled_total",
    MetricType.COUNTER,
    "Answers of models marked high-stakes that were explained without anybody asking; each model's are at its own path.",
)

METRICS: tuple[Metric, ...] = (
    INFERENCE_REQUESTS,
    INFERENCE_FAILURES,
    INFERENCE_DURATION,
    INFERENCE_CPU,
    INFERENCE_CPU_SQUARED,
    DECISIONS,
    INFERENCE_BYTES,
    INFERENCE_QUEUE,
    INFERENCE_JOULES,
    LABELLED_DECISIONS,
    SCORED_DECISIONS,
    EXPECTED_RIGHT_DECISIONS,
    MODEL_READY,
    GUARD_ROWS,
    BUDGET_REQUESTS,
    INFERENCE_BATCHES,
    EXPLANATIONS,
    ENERGY,
    BATTERY_USED,
    MEMORY_BYTE_SECONDS,
    MEMORY_PEAK,
    GPU_JOULES,
    GPU_SECONDS,
    GPU_MEMORY,
    DEVICE_INFO,
    UPDATE_BYTES,
    UPDATES,
    AGENT_ACTIVE,
    AGENT_DESIRED,
    AGENT_SYNCED,
    AGENT_DOCUMENT_VALID,
    AGENT_QUARANTINED,
)

FAILURE_BAD_REQUEST = "bad_request"
FAILURE_OVERLOADED = "overloaded"
FAILURE_INTERNAL = "internal"
FAILURE_REASONS = (FAILURE_BAD_REQUEST, FAILURE_OVERLOADED, FAILURE_INTERNAL)
"""Values of the label ``reason``: the client's fault; no room, no time or no share left; the runtime's fault."""

SIGNAL_OUT_OF_RANGE = "out_of_range"
SIGNAL_NEAR_BOUNDARY = "near_boundary"
GUARD_SIGNALS = (SIGNAL_OUT_OF_RANGE, SIGNAL_NEAR_BOUNDARY)
"""Values of the label ``signal``."""

DECISION_OFFLOADED = "offloaded"
DECISION_REFUSED = "refused"
BUDGET_DECISIONS = (DECISION_OFFLOADED, DECISION_REFUSED)
"""Values of the label ``decision``."""

UPDATE_ACTIVATED = "activated"
UPDATE_REFUSED = "refused"
UPDATE_ROLLED_BACK = "rolled_back"
UPDATE_RESULTS = (UPDATE_ACTIVATED, UPDATE_REFUSED, UPDATE_ROLLED_BACK)
"""Values of the label ``result``: the version stayed; its bytes were not to be trusted, or policy refused it; it failed its
probation."""

DIRECTION_IN = "in"
DIRECTION_OUT = "out"
OUTCOME_POSITIVE = "positive"
OUTCOME_NEGATIVE = "negative"
DURATION_BUCKETS = (0.00005, 0.001, 0.01, 0.1)
"""Latency buckets in seconds. They start at 50 us: on the edge most inferences are below a millisecond. They are few, since
every bound is a series for each model of each device."""
FURTHER_DURATION_BUCKETS = (0.00025, 0.0025, 1.0, 0.0005, 0.025, 0.005, 0.05, 0.0001, 0.25)
"""Those that a model has beyond them as far as it has room for more series; the first ones first."""
SERIES_PER_MODEL = 45
"""How many series a model may have over both processes of a device, with two cohorts."""
