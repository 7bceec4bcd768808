"""All meters together, and what the metrics page says of them. Trees and GPUs are made; nothing here was read from a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.edge.devices import sample, samples_of
from tests.edge.energy.trees import rapl, stat, write
from trimtab_edge.telemetry.energy.meter import Grade, MeterError
from trimtab_edge.telemetry.energy.modelled import CpuModel
from trimtab_edge.telemetry.energy.nvml import GpuSample
from trimtab_edge.telemetry.exposition import ResourceCollector, metrics_text, registry_of
from trimtab_edge.telemetry.inference import InferenceCounts
from trimtab_edge.telemetry.resources import ResourceOptions, Resources

if TYPE_CHECKING:
    from pathlib import Path

PID = 7


class MadeGpu:
    """One GPU, whose figures a test sets. It implements the port that the library's adapter implements."""

    def __init__(self) -> None:
        self.now = GpuSample("made", 1_000, 0, 100)

    def read(self) -> list[GpuSample]:
        return [self.now]


def no_gpu() -> MadeGpu:
    raise MeterError("no GPU")


def machine(root: Path) -> ResourceOptions:
    write(
        root / "proc", {"stat": stat(1_000), f"{PID}/status": "VmHWM:\t 2000 kB\nVmRSS:\t 1000 kB", f"{PID}/cgroup": ""}
    )
    (root / "sys").mkdir(exist_ok=True)
    return ResourceOptions(root / "sys", root / "proc", PID, battery_watt_hours=1.0, info={"region": "EU"})


def served(cpu_seconds: float) -> InferenceCounts:
    counts = InferenceCounts()
    counts.answers("m", "1.0.0", (), now=0).answered(0.001, cpu_seconds)
    return counts


def shown(counts: InferenceCounts, resources: Resources) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    facts = {"os": "made", "os_version": "1", "architecture": "arm64"}
    return samples_of(metrics_text(registry_of(ResourceCollector(counts, resources, facts))).decode())


def test_every_figure_of_a_box_that_has_all_meters(tmp_path: Path) -> None:
    rapl(tmp_path / "sys", {"intel-rapl:0": ("package-0", 0)})
    gpu = MadeGpu()
    resources = Resources(machine(tmp_path), lambda: gpu)
    counts = served(0.25)
    resources.settle(resources.read(100.0), {})
    write(tmp_path / "proc", {"stat": stat(1_050)})  # half a CPU second, at 100 ticks a second
    rapl(tmp_path / "sys", {"intel-rapl:0": ("package-0", 8_000_000)})
    gpu.now = GpuSample("made", 3_000, 40, 900)
    resources.settle(resources.read(105.0), counts.cpu_ns())
    found = shown(counts, resources)
    measured = {"source": "rapl", "grade": "measured"}
    assert sample(found, "trimtab_energy_joules_total", **measured) == 8.0
    assert sample(found, "trimtab_inference_joules_total", model="m", version="1.0.0", **measured) == pytest.approx(4.0)
    assert sample(found, "trimtab_battery_used_ratio_total") == pytest.approx(4 / 3600)
    assert sample(found, "trimtab_gpu_joules_total", gpu="0 made") == 2.0
    assert sample(found, "trimtab_gpu_busy_seconds_total", gpu="0 made") == 2.0
    assert sample(found, "trimtab_gpu_memory_bytes", gpu="0 made") == 900
    assert sample(found, "trimtab_memory_byte_seconds_total") == 5 * 1000 * 1024
    assert sample(found, "trimtab_memory_peak_bytes") == 2000 * 1024
    assert sample(
        found, "trimtab_device_info", os="made", os_version="1", architecture="arm64", region="EU", energy_source="rapl",
        energy_grade="measured", gpu_grade="measured", memory_source="process", battery_grade="measured",
    ) == 1  # fmt: skip
    account = resources.account
    assert sum(account.parts.values()) + account.idle + account.other + account.retired == account.total == 8_000_000


def test_a_modelled_joule_says_so_and_the_idle_box_is_not_charged_to_inferences(tmp_path: Path) -> None:
    options = machine(tmp_path)
    declared = ResourceOptions(options.sys, options.proc, PID, cpu_model=CpuModel(4.0, 2.0), idle_watts=2.0)
    resources = Resources(declared, no_gpu)
    counts = served(0.5)
    resources.settle(resources.read(100.0), {})
    write(tmp_path / "proc", {"stat": stat(1_050)})
    resources.settle(resources.read(110.0), counts.cpu_ns())
    found = shown(counts, resources)
    modelled = {"source": "model", "grade": "modelled"}
    # Ten seconds of 2 W idle, half a CPU second of 4 W: all of the latter is the inference's.
    assert sample(found, "trimtab_energy_joules_total", **modelled) == pytest.approx(22.0)
    assert sample(found, "trimtab_inference_joules_total", model="m", version="1.0.0", **modelled) == pytest.approx(2.0)
    assert sample(found, "trimtab_battery_used_ratio_total") is None, "no capacity was declared"
    assert not [name for name, _ in found if "gpu" in name]


def test_what_is_not_there_has_no_series_and_is_said_to_be_absent(tmp_path: Path) -> None:
    (tmp_path / "sys").mkdir()
    resources = Resources(ResourceOptions(tmp_path / "sys", tmp_path / "proc", PID, battery_watt_hours=5.0), no_gpu)
    resources.settle(resources.read(1.0), {("m", "1.0.0"): 5})
    resources.settle(resources.read(2.0), {("m", "1.0.0"): 9})
    found = shown(served(0.1), resources)
    assert {name for name, _ in found} == {"trimtab_device_info"}
    assert resources.battery_grade is Grade.ABSENT, "a share of a battery needs joules"
    assert len(resources.passed_over) == 2


def test_a_replaced_version_leaves_its_joules_in_the_account(tmp_path: Path) -> None:
    rapl(tmp_path / "sys", {"intel-rapl:0": ("package-0", 0)})
    resources = Resources(machine(tmp_path), no_gpu)
    resources.settle(resources.read(1.0), {})
    rapl(tmp_path / "sys", {"intel-rapl:0": ("package-0", 1_000)})
    resources.settle(resources.read(2.0), {("m", "1.0.0"): 10**9})
    rapl(tmp_path / "sys", {"intel-rapl:0": ("package-0", 3_000)})
    resources.settle(resources.read(3.0), {("m", "1.1.0"): 10**9})
    assert resources.account.parts == {("m", "1.1.0"): 2_000}
    assert resources.account.retired == 1_000
    assert resources.battery_used == pytest.approx(0.003 / 3600)
