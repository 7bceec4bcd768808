"""The kinds that people write in Git, as frozen types. The reader, the JSON Schemas and the CRDs are all made from these.

Field names are snake_case here and camelCase in YAML; ``named("minOSVersion")`` says so where the rule does not give
the right spelling. A field without default is required. ``tuple[T, ...]`` is a list, ``Mapping[str, T]`` an object with
free keys, an Enum its values, a dataclass an object, ``T | None`` optional.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, TypeVar

from trimtab_config.spec.scalars import (
    AnnotationField,
    ApiLevelField,
    BytesField,
    CidrField,
    CohortNameField,
    ConfidenceField,
    CountField,
    CurrencyField,
    DateField,
    DigestField,
    DurationField,
    HostField,
    KeyField,
    LabelKeyField,
    LabelNameField,
    LabelValueField,
    NameField,
    NumberField,
    OsVersionField,
    PercentField,
    PercentIntField,
    PortField,
    PositiveField,
    QuantityField,
    RatioField,
    RegionField,
    SignedField,
    SizeField,
    TagField,
    TextField,
    TimeZoneField,
    UriField,
    VersionField,
    WindowField,
)
from trimtab_kernel import vocabulary
from trimtab_kernel.money import Figure, Grade
from trimtab_kernel.records import dataclass, field

T = TypeVar("T")
_EMPTY: Mapping[str, Any] = MappingProxyType({})


def named(yaml: str, *, default: object) -> Any:  # noqa: ANN401 - stands where any type of field may
    """An optional dataclass field whose YAML name is ``yaml``."""
    return field(metadata={"yaml": yaml}, default=default)


def empty_mapping() -> Any:  # noqa: ANN401 - stands where any mapping may
    """An optional object with free keys."""
    return field(default_factory=lambda: _EMPTY)


@dataclass(frozen=True, slots=True)
class Only:
    """In an annotation: of this Enum, only these values may be written."""

    values: tuple[Enum, ...]


def part(kind: type[T]) -> T:
    """An optional object that, when left out, has all its defaults."""
    return field(default_factory=kind)


# ---------------------------------------------------------------- shared parts


@dataclass(frozen=True, slots=True)
class Metadata:
    """Kubernetes object metadata, the part that a person writes."""

    name: NameField
    namespace: LabelNameField = "default"
    labels: Mapping[LabelKeyField, LabelValueField] = empty_mapping()
    annotations: Mapping[LabelKeyField, AnnotationField] = empty_mapping()


@dataclass(frozen=True, slots=True)
class Tags:
    """Cost-allocation tags."""

    project: TextField | None = None
    app: TextField | None = None
    team: TextField | None = None
    business_unit: TextField | None = None
    feature: TextField | None = None
    environment: TextField | None = None


class Tier(Enum):
    """How much of a model a device gets. ``auto`` lets the device group's hardware decide."""

    AUTO = "auto"
    LITE = "lite"
    STANDARD = "standard"
    PREMIUM = "premium"


VariantTier = Annotated[Tier, Only((Tier.LITE, Tier.STANDARD, Tier.PREMIUM))]
KnownGrade = Annotated[Grade, Only((Grade.MEASURED, Grade.MODELLED, Grade.DECLARED))]


class NetworkConstraint(Enum):
    """Over which networks an update may travel."""

    WIFI = "WIFI"
    UNMETERED = "UNMETERED"
    ANY = "ANY"


class Level(Enum):
    """What a policy's finding does."""

    DENY = "deny"
    WARN = "warn"
    DRY_RUN = "dryRun"


@dataclass(frozen=True, slots=True)
class Amount:
    """Money as it is written in YAML."""

    amount: NumberField
    currency: CurrencyField


@dataclass(frozen=True, slots=True)
class GradedFigure:
    """A number, bare or with bounds: ``0.02`` or ``{value: 0.02, low: 0.01, high: 0.03, grade: measured}``.

    The reader accepts both forms for a field of this type; a bare one has ``low`` and ``high`` None.
    """

    bare: ClassVar[str] = "value"  # the field that a bare scalar fills

    value: NumberField
    low: NumberField | None = None
    high: NumberField | None = None
    grade: KnownGrade | None = None

    def figure(self, grade: Grade) -> Figure:
        """With bounds; ``grade`` is used where the figure names none. Raises MoneyError where bounds are out of order."""
        own = self.grade or grade
        bare = Figure.bare(self.value, own)
        return Figure(
            self.value,
            bare.low if self.low is None else self.low,
            bare.high if self.high is None else self.high,
            own,
        )


# ---------------------------------------------------------------- EdgeAIDeployment


@dataclass(frozen=True, slots=True)
class ModelRef:
    """Which version of which model. The name is opaque: a suffix such as ``.pt`` means nothing."""

    name: NameField
    version: VersionField


@dataclass(frozen=True, slots=True)
class TargetDevices:
    """Device groups are chosen by equality of all these labels with the group's own."""

    labels: Mapping[LabelKeyField, LabelValueField]


@dataclass(frozen=True, slots=True)
class ResourceLimits:
    """Limits of this deployment's share of the runtime."""

    cpu: SizeField
    memory: SizeField
    gpu: QuantityField | None = None


@dataclass(frozen=True, slots=True)
class Wave:
    """One step of a rollout: a percentage of devices, or whole groups by name. Exactly one of the two."""

    name: LabelNameField
    percent: PercentField | None = None
    groups: tuple[LabelNameField, ...] = ()
    soak: DurationField | None = None


@dataclass(frozen=True, slots=True)
class StableRef:
    """The version that devices outside the current wave run."""

    version: VersionField


@dataclass(frozen=True, slots=True)
class Gates:
    """What must be seen before the next wave."""

    minimum_sample: CountField = 0
    maximum_failure_ratio: RatioField | None = None


@dataclass(frozen=True, slots=True)
class Rollout:
    """Waves, in order; ``wave`` names the current one (the last one unless given)."""

    waves: tuple[Wave, ...] = ()
    wave: LabelNameField | None = None
    stable: StableRef | None = None
    salt: TextField | None = None
    gates: Gates = part(Gates)
    paused: bool = False


@dataclass(frozen=True, slots=True)
class InferenceBudget:
    """Expected and allowed use. Requests per device and day; CPU seconds and bytes per device and day."""

    expected_requests_per_device_day: NumberField | None = None
    maximum_per_minute: PositiveField | None = None
    daily_cpu_seconds: NumberField | None = None
    daily_data: QuantityField | None = None


@dataclass(frozen=True, slots=True)
class UpdateRules:
    """When a device may fetch an update. The window is local time, such as ``01:00-05:00``."""

    window: WindowField | None = None
    network_constraint: NetworkConstraint = NetworkConstraint.ANY
    min_battery_level: PercentIntField | None = None


@dataclass(frozen=True, slots=True)
class TelemetryUse:
    """What a device reports of the model: bytes a day, and for how many days they are kept where they arrive."""

    bytes_per_device_day: GradedFigure | None = None
    retention_days: PositiveField | None = None


@dataclass(frozen=True, slots=True)
class Offload:
    """A named V2 endpoint that takes requests when the device is constrained.

    For the estimate: the share of requests (0 to 1) that are expected to go there, ``price_class`` of the endpoint in the
    price book (``offloadPer1k``), and the bytes that such a request takes over the network.
    """

    endpoint: UriField
    jurisdiction: TextField
    when: tuple[TextField, ...] = ()
    expected_share: RatioField | None = None
    price_class: LabelNameField | None = None
    bytes_per_request: GradedFigure | None = None


@dataclass(frozen=True, slots=True)
class ExperimentArm:
    """One arm of an experiment."""

    name: LabelNameField
    version: VersionField
    share: PercentField


@dataclass(frozen=True, slots=True)
class Experiment:
    """An A/B test over devices."""

    arms: tuple[ExperimentArm, ...]
    metric: TextField
    salt: TextField | None = None
    stop_rule: TextField | None = None


class Workload(Enum):
    """DaemonSet for devices, Deployment for site servers."""

    DAEMON_SET = "DaemonSet"
    DEPLOYMENT = "Deployment"


@dataclass(frozen=True, slots=True)
class EdgeAIDeploymentSpec:
    """A model on K3s device groups."""

    model_ref: ModelRef
    target_devices: TargetDevices
    resource_limits: ResourceLimits
    finops_policy_ref: NameField | None = None
    ai_alignment_policy_ref: NameField | None = None
    rollout: Rollout = part(Rollout)
    tier: Tier = Tier.AUTO
    tags: Tags = part(Tags)
    inference: InferenceBudget = part(InferenceBudget)
    update: UpdateRules = part(UpdateRules)
    telemetry: TelemetryUse = part(TelemetryUse)
    offload: Offload | None = None
    experiment: Experiment | None = None
    workload: Workload = Workload.DAEMON_SET


# ---------------------------------------------------------------- OnDeviceModel


@dataclass(frozen=True, slots=True)
class MobileTargets:
    """Eligibility of phones and kiosks. ``min_os_version`` judges iOS devices, ``min_api_level`` Android ones.

    ``regions`` match the group's jurisdiction.
    """

    min_os_version: OsVersionField | None = named("minOSVersion", default=None)
    min_api_level: ApiLevelField | None = named("minAPILevel", default=None)
    min_memory_mb: CountField | None = named("minMemoryMB", default=None)
    regions: tuple[TextField, ...] = ()
    labels: Mapping[LabelKeyField, LabelValueField] = empty_mapping()


class UpdateStrategyType(Enum):
    """How an OnDeviceModel reaches its devices."""

    STAGED_ROLLOUT = "stagedRollout"
    IMMEDIATE = "immediate"


@dataclass(frozen=True, slots=True)
class UpdateStrategy:
    """``rollout_percentage`` is of eligible devices."""

    type: UpdateStrategyType = UpdateStrategyType.STAGED_ROLLOUT
    rollout_percentage: PercentField | None = None
    min_battery_level: PercentIntField | None = None
    network_constraint: NetworkConstraint = NetworkConstraint.ANY


@dataclass(frozen=True, slots=True)
class InferenceConfig:
    """Hints for the client's runtime."""

    batch_size: PositiveField = 1
    num_threads: PositiveField = 1
    quantization: TextField | None = None


@dataclass(frozen=True, slots=True)
class OnDeviceModelSpec:
    """A model for app-side clients on phones and kiosks. Its bytes are opaque; it needs no Model object."""

    model_id: TextField
    version: VersionField
    model_uri: UriField
    checksum: DigestField
    target_devices: MobileTargets = part(MobileTargets)
    update_strategy: UpdateStrategy = part(UpdateStrategy)
    inference_config: InferenceConfig = part(InferenceConfig)
    feature_flags: Mapping[KeyField, bool] = empty_mapping()
    size: BytesField = 0
    finops_policy_ref: NameField | None = None
    ai_alignment_policy_ref: NameField | None = None
    tags: Tags = part(Tags)


# ---------------------------------------------------------------- DeviceGroup


class Arch(Enum):
    """Processor architectures, as OCI names them."""

    AMD64 = "amd64"
    ARM64 = "arm64"
    ARM = "arm"


class Accelerator(Enum):
    """What can run a model beside the CPU."""

    NONE = "none"
    CUDA = "cuda"
    NPU = "npu"
    TPU = "tpu"


class PowerSource(Enum):
    """Where a device's power comes from."""

    MAINS = "mains"
    BATTERY = "battery"
    SOLAR = "solar"


class Connectivity(Enum):
    """What to expect of a device's link."""

    ALWAYS = "always"
    INTERMITTENT = "intermittent"
    MOSTLY_OFFLINE = "mostly-offline"


@dataclass(frozen=True, slots=True)
class Hardware:
    """One device. ``hardware_class`` names its price in the price book."""

    hardware_class: LabelNameField = field(metadata={"yaml": "class"})
    arch: Arch
    cpu: SizeField
    memory: SizeField
    os: TextField = "linux"
    os_version: OsVersionField | None = None
    api_level: ApiLevelField | None = None
    accelerator: Accelerator = Accelerator.NONE
    gpus: CountField = 0


@dataclass(frozen=True, slots=True)
class Power:
    """Power supply. Battery capacity in watt-hours, idle and peak power in watts."""

    source: PowerSource = PowerSource.MAINS
    battery_wh: NumberField | None = None
    idle_watts: NumberField | None = None
    peak_watts: NumberField | None = None


@dataclass(frozen=True, slots=True)
class EgressRule:
    """Addresses that the group's pods may connect to: of models, telemetry and offload endpoints.

    ``hosts`` are the names by which endpoints stand for these addresses. Names are never looked up: a proxy, a mirror
    or a gateway has addresses that stay. ``jurisdiction`` is where they are; it must be the group's own.
    """

    cidrs: tuple[CidrField, ...]
    hosts: tuple[HostField, ...] = ()
    ports: tuple[PortField, ...] = (443,)
    jurisdiction: TextField | None = None


@dataclass(frozen=True, slots=True)
class Network:
    """``price_class`` names the price per gigabyte in the price book.

    With ``egress`` the group's pods may connect to nothing else, names apart (DNS). Without it, endpoints that have a
    host name are opened by their port alone.
    """

    price_class: LabelNameField
    constraint: NetworkConstraint = NetworkConstraint.ANY
    egress: tuple[EgressRule, ...] = ()


@dataclass(frozen=True, slots=True)
class SiteIngress:
    """How a site server (``workload: Deployment``) is reached from outside its cluster.

    ``host`` is ``<group>.<cluster>.internal`` unless given; ``class_name`` the ingress class, the cluster's default
    without it; ``tls_secret`` names the Secret with the host's certificate.
    """

    host: HostField | None = None
    class_name: NameField | None = None
    tls_secret: NameField | None = None


@dataclass(frozen=True, slots=True)
class Owner:
    """Whom to ask."""

    team: TextField
    contact: TextField | None = None


@dataclass(frozen=True, slots=True)
class DeviceGroupSpec:
    """Devices that are configured alike. ``jurisdiction`` says whose law holds (``EU``, ``US``, ...).

    ``time_zone`` is that of update windows; without it each device goes by its own.
    """

    cluster: LabelNameField
    device_count: CountField
    hardware: Hardware
    network: Network
    jurisdiction: TextField
    owner: Owner
    power: Power = part(Power)
    connectivity: Connectivity = Connectivity.ALWAYS
    ingress: SiteIngress = part(SiteIngress)
    time_zone: TimeZoneField | None = None


# ---------------------------------------------------------------- Model


@dataclass(frozen=True, slots=True)
class Requirements:
    """What a device must have to run a variant. An empty list means any."""

    memory: QuantityField | None = None
    cpu: QuantityField | None = None
    accelerator: Accelerator = Accelerator.NONE
    arch: tuple[Arch, ...] = ()
    os: tuple[TextField, ...] = ()
    regions: tuple[TextField, ...] = ()
    power: tuple[PowerSource, ...] = ()


@dataclass(frozen=True, slots=True)
class Profile:
    """What one inference takes: CPU seconds, joules, peak memory (bytes), bytes sent. ``grade`` is for bare figures."""

    grade: KnownGrade = Grade.DECLARED
    cpu_seconds: GradedFigure | None = None
    joules: GradedFigure | None = None
    memory_peak: QuantityField | None = None
    bytes: GradedFigure | None = None


class Format(Enum):
    """File formats. Only ONNX is served by ``trimtab-edge serve``; others are opaque verified bytes for the app."""

    ONNX = "onnx"
    TFLITE = "tflite"
    COREML = "coreml"
    TORCHSCRIPT = "torchscript"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Variant:
    """One file of one version, for one class of devices."""

    tier: VariantTier
    digest: DigestField
    size: BytesField
    uri: UriField
    format: Format = Format.ONNX
    quantization: TextField = "none"
    signature: UriField | None = None
    requirements: Requirements = part(Requirements)
    profile: Profile = part(Profile)


@dataclass(frozen=True, slots=True)
class CohortRate:
    """What an evaluation measured for one cohort."""

    n: CountField
    positive_rate: RatioField
    accuracy: RatioField | None = None


@dataclass(frozen=True, slots=True)
class DriftRate:
    """Population stability index of ``n`` rows against those of training, over ``bins`` bins."""

    psi: NumberField
    n: CountField
    bins: PositiveField = 10


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Offline evaluation of a version: accuracy (0 to 1), latency (seconds), selection by cohort, drift since training."""

    accuracy: RatioField | None = None
    latency_seconds: NumberField | None = None
    dataset: TextField | None = None
    fairness: Mapping[CohortNameField, CohortRate] = empty_mapping()
    drift: DriftRate | None = None


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a version comes from."""

    pipeline: TextField | None = None
    run: TextField | None = None
    dataset: TextField | None = None
    source: TextField | None = None


@dataclass(frozen=True, slots=True)
class Production:
    """What it took to make a version, spread over the inferences that it is expected to answer in its life."""

    over_inferences: NumberField
    training: Amount | None = None
    quantization: Amount | None = None


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One released version."""

    version: VersionField
    variants: tuple[Variant, ...]
    released: DateField | None = None
    evaluation: Evaluation = part(Evaluation)
    lineage: Lineage = part(Lineage)
    production: Production | None = None


@dataclass(frozen=True, slots=True)
class CohortRule:
    """An exact value of the attribute, or a half-open range ``low <= x < high``."""

    value: SignedField | None = None
    low: SignedField | None = None
    high: SignedField | None = None


@dataclass(frozen=True, slots=True)
class SensitiveAttribute:
    """Which input tensor and column holds the sensitive attribute, and its cohorts by name."""

    input: TextField
    column: CountField
    cohorts: Mapping[CohortNameField, CohortRule]


@dataclass(frozen=True, slots=True)
class Score:
    """Which output is the calibrated probability, 0 to 1, of the positive label: one value per row, or those of ``column``."""

    output: TextField
    column: CountField | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """Which output is the decision, and which value of it is the positive outcome.

    With ``score`` devices estimate the model's accuracy before any label is known.
    """

    output: TextField
    positive: SignedField
    score: Score | None = None


@dataclass(frozen=True, slots=True)
class ModelAlignment:
    """What is watched for bias on the device."""

    attribute: SensitiveAttribute
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model: all its released versions, each with variants for classes of devices."""

    versions: tuple[ModelVersion, ...]
    modalities: tuple[TextField, ...] = ()
    capabilities: tuple[TextField, ...] = ()
    alignment: ModelAlignment | None = None
    description: TextField | None = None
    tags: Tags = part(Tags)


# ---------------------------------------------------------------- policies


@dataclass(frozen=True, slots=True)
class Caps:
    """Most that one deployment may ask for."""

    cpu: QuantityField | None = None
    memory: QuantityField | None = None
    gpu: QuantityField | None = None


@dataclass(frozen=True, slots=True)
class Ceilings:
    """Most that inferences may cost. The sample and confidence are for judging what devices measured."""

    cost_per_1k_inferences: Amount | None = named("costPer1kInferences", default=None)
    minimum_sample: CountField = 200
    confidence: ConfidenceField = Decimal("0.95")


@dataclass(frozen=True, slots=True)
class Budget:
    """Money for one month (730 h) over all that refers to the policy."""

    monthly: Amount


@dataclass(frozen=True, slots=True)
class PolicyException:
    """For these deployments and groups (all, where none is named) a rule warns until a day, and somebody answers for it."""

    rule: TextField
    owner: TextField
    reason: TextField
    until: DateField
    deployments: tuple[NameField, ...] = ()
    groups: tuple[LabelNameField, ...] = ()


@dataclass(frozen=True, slots=True)
class FinOpsPolicySpec:
    """Limits of money and resources. ``levels`` are of single rules by name, ``level`` of all others.

    ``rollback_any_time``: devices go back to an older version outside their update window, too.
    """

    caps: Caps = part(Caps)
    ceilings: Ceilings = part(Ceilings)
    budget: Budget | None = None
    update_bytes: QuantityField | None = None
    update_window: WindowField | None = None
    rollback_any_time: bool = True
    required_tags: tuple[TagField, ...] = ()
    level: Level = Level.DENY
    levels: Mapping[KeyField, Level] = empty_mapping()
    exceptions: tuple[PolicyException, ...] = ()


class FairnessMetric(Enum):
    """Fairness figures that can be watched without labels."""

    DISPARATE_IMPACT = "disparateImpact"


@dataclass(frozen=True, slots=True)
class FairnessLimit:
    """The least acceptable value, with the sample and confidence that a verdict needs."""

    minimum: RatioField
    metric: FairnessMetric = FairnessMetric.DISPARATE_IMPACT
    minimum_sample: CountField = 200
    confidence: ConfidenceField = Decimal("0.95")


@dataclass(frozen=True, slots=True)
class DriftLimit:
    """Most drift of scores or features, as population stability index."""

    maximum_psi: NumberField = field(metadata={"yaml": "maximumPSI"})
    minimum_sample: CountField = 1000


@dataclass(frozen=True, slots=True)
class DataEgress:
    """Where data may go."""

    allowed: bool = False
    jurisdictions: tuple[TextField, ...] = ()


@dataclass(frozen=True, slots=True)
class AIAlignmentPolicySpec:
    """Limits of harm. ``levels`` are of single rules by name, ``level`` of all others.

    ``jurisdictions`` are those of groups where models may run (any, where none is named); ``refresh_cycle`` is how long a
    model may go without a new version, ``unused_version_age`` how long after its release a version may lie unused.
    """

    prohibited_models: tuple[TextField, ...] = ()
    prohibited_capabilities: tuple[TextField, ...] = ()
    fairness: FairnessLimit | None = None
    drift: DriftLimit | None = None
    data_egress: DataEgress = part(DataEgress)
    maximum_inferences_per_minute: PositiveField | None = None
    maximum_model_age: DurationField | None = None
    refresh_cycle: DurationField | None = None
    unused_version_age: DurationField | None = None
    require_signature: bool = False
    approved_pipelines: tuple[TextField, ...] = ()
    jurisdictions: tuple[TextField, ...] = ()
    level: Level = Level.DENY
    levels: Mapping[KeyField, Level] = empty_mapping()
    exceptions: tuple[PolicyException, ...] = ()


# ---------------------------------------------------------------- PriceBook


@dataclass(frozen=True, slots=True)
class RegionPrices:
    """Prices of one region in the book's currency.

    ``device_hour``: one device for one hour, by hardware class (purchase amortised over its life, or the node price).
    ``energy_per_kwh``: one kilowatt-hour. ``carbon_per_kwh``: kg CO2e per kilowatt-hour. ``network_per_gb``: 10^9
    bytes by price class. ``telemetry_per_gb``: ingestion of 10^9 bytes. ``storage_per_gb_month``: 10^9 bytes kept for a
    month. ``offload_per_1k``: a thousand requests to an endpoint, by its price class. ``shared_per_device_month``: what
    the platform itself costs for one device (control plane, registry, observability).
    """

    device_hour: Mapping[LabelNameField, GradedFigure]
    energy_per_kwh: GradedFigure = field(metadata={"yaml": "energyPerKWh"})
    network_per_gb: Mapping[LabelNameField, GradedFigure] = field(metadata={"yaml": "networkPerGB"})
    carbon_per_kwh: GradedFigure | None = named("carbonPerKWh", default=None)
    telemetry_per_gb: GradedFigure | None = named("telemetryPerGB", default=None)
    storage_per_gb_month: GradedFigure | None = named("storagePerGBMonth", default=None)
    offload_per_1k: Mapping[LabelNameField, GradedFigure] = empty_mapping()
    shared_per_device_month: GradedFigure | None = None


@dataclass(frozen=True, slots=True)
class ExchangeRate:
    """One unit of ``currency`` is ``rate`` of the book's own currency, from one day to another, both included."""

    currency: CurrencyField
    rate: NumberField
    valid_from: DateField
    valid_until: DateField


@dataclass(frozen=True, slots=True)
class PriceBookSpec:
    """A lock file of prices: versioned and dated, never fetched at render time. ``regions`` by the group's ``region`` label."""

    currency: CurrencyField
    valid_from: DateField
    valid_until: DateField
    regions: Mapping[RegionField, RegionPrices]
    source: TextField | None = None
    exchange_rates: tuple[ExchangeRate, ...] = ()


# ---------------------------------------------------------------- Hold


@dataclass(frozen=True, slots=True)
class HoldSpec:
    """This version (or digest) of a model stays out of these groups (all of them where none is named)."""

    model: NameField
    owner: TextField
    reason: TextField
    until: DateField
    version: VersionField | None = None
    digest: DigestField | None = None
    groups: tuple[LabelNameField, ...] = ()


# ---------------------------------------------------------------- registry


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind: its API version, its name, the type of its spec, and whether it is an object of a cluster."""

    api_version: str
    name: str
    spec: type
    plural: str


KINDS: tuple[Kind, ...] = (
    Kind(vocabulary.API_EDGE, "EdgeAIDeployment", EdgeAIDeploymentSpec, "edgeaideployments"),
    Kind(vocabulary.API_MOBILE, "OnDeviceModel", OnDeviceModelSpec, "ondevicemodels"),
    Kind(vocabulary.API_EDGE, "DeviceGroup", DeviceGroupSpec, "devicegroups"),
    Kind(vocabulary.API_EDGE, "Model", ModelSpec, "models"),
    Kind(vocabulary.API_EDGE, "FinOpsPolicy", FinOpsPolicySpec, "finopspolicies"),
    Kind(vocabulary.API_EDGE, "AIAlignmentPolicy", AIAlignmentPolicySpec, "aialignmentpolicies"),
    Kind(vocabulary.API_EDGE, "PriceBook", PriceBookSpec, "pricebooks"),
    Kind(vocabulary.API_EDGE, "Hold", HoldSpec, "holds"),
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an object stands: file (relative to the tree), line of its first key, its place among the file's documents.

    ``lines`` maps a dotted field path to its 1-based line, so that later stages can point at a field.
    """

    file: str
    line: int
    index: int
    lines: Mapping[str, int] = field(default_factory=dict, compare=False, repr=False)

    def line_of(self, path: str) -> int:
        """The line of ``path``, or of the nearest field above it that is written down."""
        while path:
            if path in self.lines:
                return self.lines[path]
            path = path.rpartition(".")[0]
        return self.line


@dataclass(frozen=True, slots=True)
class Document:
    """One parsed object of any kind; ``spec`` has the type that :data:`KINDS` says. Origins do not count in equality."""

    api_version: str
    kind: str
    metadata: Metadata
    spec: Any
    origin: Origin = field(compare=False)
