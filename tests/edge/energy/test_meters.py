"""Meters replayed from made trees: what they would have read, and what they refuse to say."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.edge.energy.trees import JETSON, RANGE, SERVER, rapl, stat, write
from trimtab_edge.telemetry.energy.choice import choose
from trimtab_edge.telemetry.energy.hwmon import HwmonMeter
from trimtab_edge.telemetry.energy.meter import Grade, MeterError
from trimtab_edge.telemetry.energy.modelled import CpuModel, ModelMeter, Observation, calibrate
from trimtab_edge.telemetry.energy.nvml import GpuMeter, GpuSample, NvmlLibrary
from trimtab_edge.telemetry.energy.processor import Processor, busy_ticks
from trimtab_edge.telemetry.energy.rapl import RaplMeter
from trimtab_edge.telemetry.memory import MemoryMeter

if TYPE_CHECKING:
    from pathlib import Path


def test_packages_and_memory_count_and_what_is_within_or_around_them_does_not(tmp_path: Path) -> None:
    powercap = rapl(tmp_path, SERVER)
    meter = RaplMeter(powercap)
    assert meter.source.name == "rapl"
    assert meter.source.grade is Grade.MEASURED
    assert meter.source.detail == "dram, package-0, package-1"
    rapl(
        tmp_path,
        {
            "intel-rapl:0": ("package-0", 1_000 + 7),
            "intel-rapl:0:0": ("core", 100_000),
            "intel-rapl:0:1": ("dram", 50 + 20),
            "intel-rapl:1": ("package-1", 2_000 + 100),
            "intel-rapl:2": ("psys", 500_000),
            "intel-rapl-mmio:0": ("package-0", 400_000),
        },
    )
    assert meter.advance(1, 0) == 127
    assert meter.advance(2, 0) == 0


def test_psys_counts_where_there_is_no_package(tmp_path: Path) -> None:
    meter = RaplMeter(rapl(tmp_path, {"intel-rapl:0": ("psys", 10)}))
    rapl(tmp_path, {"intel-rapl:0": ("psys", 30)})
    assert meter.advance(1, 0) == 20


def test_a_counter_that_wraps_goes_on(tmp_path: Path) -> None:
    meter = RaplMeter(rapl(tmp_path, {"intel-rapl:0": ("package-0", RANGE - 10)}))
    rapl(tmp_path, {"intel-rapl:0": ("package-0", 5)})
    # From RANGE - 10 up to RANGE are 10 steps, one more leads to 0, five to 5.
    assert meter.advance(1, 0) == 16
    rapl(tmp_path, {"intel-rapl:0": ("package-0", 25)})
    assert meter.advance(2, 0) == 20


def test_a_counter_that_may_not_be_read_is_no_meter(tmp_path: Path) -> None:
    """Only root may read RAPL. The test removes the file, for root reads what it likes."""
    powercap = rapl(tmp_path, SERVER)
    (powercap / "intel-rapl:0/energy_uj").unlink()
    with pytest.raises(MeterError, match="energy_uj: no such file"):
        RaplMeter(powercap)
    with pytest.raises(MeterError, match="no such file"):
        RaplMeter(tmp_path / "elsewhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MeterError, match="no RAPL zones"):
        RaplMeter(tmp_path / "empty")


def test_an_interval_that_could_not_be_read_is_made_up_by_the_next_one(tmp_path: Path) -> None:
    powercap = rapl(tmp_path, {"intel-rapl:0": ("package-0", 100)})
    meter = RaplMeter(powercap)
    write(powercap / "intel-rapl:0", {"energy_uj": "garbage"})
    assert meter.advance(1, 0) is None
    write(powercap / "intel-rapl:0", {"energy_uj": 400})
    assert meter.advance(2, 0) == 300


def test_the_input_of_the_board_is_taken_and_its_rails_are_not_added(tmp_path: Path) -> None:
    write(tmp_path / "class/hwmon/hwmon0", {"name": "coretemp", "temp1_input": 50_000})
    board = tmp_path / "class/hwmon/hwmon1"
    write(board, JETSON)
    meter = HwmonMeter(tmp_path / "class/hwmon")
    assert meter.source.detail == "ina3221/VDD_IN"
    assert meter.advance(10, 0) is None, "one reading is no interval"
    write(board, {"curr1_input": 1_600})
    # (6 W + 8 W) / 2 for two seconds
    assert meter.advance(12, 0) == 14_000_000
    assert meter.advance(500, 0) is None, "a mean over a long gap says nothing"
    assert meter.advance(501, 0) == 8_000_000


def test_a_channel_can_be_named_and_must_be_where_it_is_not_clear(tmp_path: Path) -> None:
    hwmon = tmp_path / "class/hwmon"
    write(hwmon / "hwmon0", {"name": "ina226", "power1_input": 2_000_000})
    write(hwmon / "hwmon1", {"name": "ina226", "power1_input": 3_000_000})
    with pytest.raises(MeterError, match="not clear, name one of: ina226/power1"):
        HwmonMeter(hwmon)
    with pytest.raises(MeterError, match="no single channel ina226/power1"):
        HwmonMeter(hwmon, "ina226/power1")
    write(hwmon / "hwmon1", {"power1_label": "motor"})
    meter = HwmonMeter(hwmon, "ina226/power1")
    meter.advance(0, 0)
    assert meter.advance(1, 0) == 2_000_000


def test_a_counter_of_energy_that_restarts_tells_nothing_for_that_interval(tmp_path: Path) -> None:
    hwmon = tmp_path / "class/hwmon"
    write(hwmon / "hwmon0", {"name": "amd_energy", "energy1_input": 500, "energy1_label": "Esocket0"})
    meter = HwmonMeter(hwmon)
    write(hwmon / "hwmon0", {"energy1_input": 900})
    assert meter.advance(1, 0) == 400
    write(hwmon / "hwmon0", {"energy1_input": 3})
    assert meter.advance(2, 0) is None
    write(hwmon / "hwmon0", {"energy1_input": 10})
    assert meter.advance(3, 0) == 7


def test_a_calibration_finds_the_powers_that_made_its_figures() -> None:
    model = calibrate([Observation(10, cpu, 10 * 2.5 + cpu * 4.0) for cpu in (0.0, 5.0, 12.0, 20.0)])
    assert model.idle_watts == pytest.approx(2.5)
    assert model.watts_per_cpu == pytest.approx(4.0)
    assert model.relative_error == pytest.approx(0, abs=1e-9)
    meter = ModelMeter(model)
    assert meter.source.grade is Grade.MODELLED
    assert "4 W per busy CPU, 2.5 W idle, error 0%" in meter.source.detail
    assert meter.advance(100, 0) is None
    assert meter.advance(110, 3.0) == 37_000_000
    assert meter.advance(109, 1.0) is None, "a clock that goes back tells nothing"


def test_a_calibration_is_the_least_squares_fit_and_states_its_error() -> None:
    """numpy's solver as the referee."""
    figures = np.array([(10, 0.0, 22.0), (12, 5.0, 50.0), (10, 10.0, 59.0), (11, 20.0, 110.0)])
    model = calibrate([Observation(*row) for row in figures.tolist()])
    (idle, watts), *_ = np.linalg.lstsq(figures[:, :2], figures[:, 2])
    assert (model.idle_watts, model.watts_per_cpu) == pytest.approx((idle, watts))
    relative = (figures[:, :2] @ [idle, watts] - figures[:, 2]) / figures[:, 2]
    assert model.relative_error == pytest.approx(float(np.sqrt(np.mean(relative**2))))
    assert 0.01 < float(model.relative_error or 0) < 0.2


@pytest.mark.parametrize(
    "observations",
    [
        [],
        [Observation(10, 5, 40)] * 5,
        [Observation(10, 1, 50), Observation(10, 5, 40), Observation(10, 9, 30)],
        [Observation(10, 1, 1), Observation(10, 5, 40), Observation(10, 9, 90)],
    ],
    ids=["nothing", "one load", "a busy CPU saves energy", "an idle box gives energy"],
)
def test_a_calibration_without_sense_is_refused(observations: list[Observation]) -> None:
    with pytest.raises(ValueError, match=r"expected at least|do not differ|makes no sense"):
        calibrate(observations)


@pytest.mark.parametrize(
    ("watts", "idle"), [(0.0, 1.0), (-1.0, 0.0), (1.0, -0.1), (float("nan"), 0.0), (1.0, float("inf"))]
)
def test_a_model_without_sense_is_refused(watts: float, idle: float) -> None:
    with pytest.raises(ValueError, match="watts above 0"):
        CpuModel(watts, idle)


def test_the_best_meter_is_chosen_and_without_any_nothing_is_claimed(tmp_path: Path) -> None:
    nothing = choose(tmp_path, None)
    assert nothing.meter is None
    assert nothing.source.grade is Grade.ABSENT
    assert len(nothing.passed_over) == 2
    model = choose(tmp_path, CpuModel(3.0))
    assert (model.source.name, model.source.grade) == ("model", Grade.MODELLED)
    write(tmp_path / "class/hwmon/hwmon1", JETSON)
    assert choose(tmp_path, CpuModel(3.0)).source.name == "hwmon"
    rapl(tmp_path, SERVER)
    best = choose(tmp_path, CpuModel(3.0))
    assert (best.source.name, best.passed_over) == ("rapl", ())


def put(address: int, kind: type[ctypes.c_uint] | type[ctypes.c_ulonglong], *numbers: int) -> int:
    """Write numbers where the caller asked for them, as a C function does, and report success."""
    (kind * len(numbers)).from_address(address)[:] = numbers
    return 0


class MadeGpus:
    """The C functions of NVML over figures of ours, called through ctypes as the driver's would be. No GPU was read."""

    def __init__(self) -> None:
        self.energy, self.busy, self.used = [1_000, 50], [0, 0], [100, 200]
        self.supported = True
        plain = ctypes.CFUNCTYPE(ctypes.c_int)
        one = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
        of_device = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
        self.nvmlInit_v2 = plain(lambda: 0)
        self.nvmlDeviceGetCount_v2 = one(lambda into: put(into, ctypes.c_uint, len(self.energy)))
        self.nvmlDeviceGetHandleByIndex_v2 = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint, ctypes.c_void_p)(
            lambda index, into: put(into, ctypes.c_ulonglong, 1000 + index)
        )
        self.nvmlDeviceGetName = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint)(
            self._name
        )
        self.nvmlDeviceGetTotalEnergyConsumption = of_device(
            lambda device, into: put(into, ctypes.c_ulonglong, self.energy[device - 1000]) if self.supported else 3
        )
        self.nvmlDeviceGetUtilizationRates = of_device(
            lambda device, into: put(into, ctypes.c_uint, self.busy[device - 1000], 99)
        )
        self.nvmlDeviceGetMemoryInfo = of_device(
            lambda device, into: put(into, ctypes.c_ulonglong, 8_000, 1, self.used[device - 1000])
        )

    def _name(self, device: int, into: int, length: int) -> int:
        name = f"made-{device - 1000}".encode() + b"\0"
        assert len(name) <= length
        ctypes.memmove(into, name, len(name))
        return 0


def test_gpus_are_read_through_the_library_s_own_calls() -> None:
    made = MadeGpus()
    library = NvmlLibrary(lambda _: made)
    assert library.read() == [GpuSample("made-0", 1_000, 0, 100), GpuSample("made-1", 50, 0, 200)]
    meter = GpuMeter(library)
    meter.advance(10)
    made.energy, made.busy, made.used = [3_500, 50], [50, 0], [900, 200]
    meter.advance(14)
    first, second = meter.figures
    assert (first.joules, first.busy_seconds, first.memory_bytes) == (2.5, 2.0, 900)
    assert (second.joules, second.busy_seconds, second.memory_bytes) == (0.0, 0.0, 200)
    assert meter.source.name == "nvml"
    meter.advance(1_000)
    assert first.busy_seconds == 2.0, "utilisation now says nothing about a quarter of an hour"


def test_what_a_gpu_does_not_tell_is_absent_and_not_zero() -> None:
    made = MadeGpus()
    made.supported = False
    meter = GpuMeter(NvmlLibrary(lambda _: made))
    meter.advance(1)
    meter.advance(2)
    assert meter.figures[0].joules is None
    assert meter.figures[0].busy_seconds == 0.0


def test_without_the_library_or_a_gpu_there_is_no_meter() -> None:
    def missing(name: str) -> MadeGpus:
        raise OSError(f"{name}: cannot open shared object file")

    with pytest.raises(MeterError, match=r"libnvidia-ml\.so\.1: not there"):
        NvmlLibrary(missing)
    made = MadeGpus()
    made.energy = []
    with pytest.raises(MeterError, match="no GPU"):
        NvmlLibrary(lambda _: made)


def test_busy_time_is_what_was_not_idle_and_guests_are_not_counted_twice(tmp_path: Path) -> None:
    assert busy_ticks(stat(1000)) == 1000 + 5 + 100 + 3 + 2 + 1
    write(tmp_path, {"stat": stat(1000)})
    processor = Processor(tmp_path, ticks_per_second=100)
    write(tmp_path, {"stat": stat(1050, idle=99_999)})
    assert processor.busy_ns() == 500_000_000
    write(tmp_path, {"stat": stat(900)})
    assert processor.busy_ns() is None, "it restarted"
    write(tmp_path, {"stat": "nothing of the kind"})
    assert processor.busy_ns() is None
    with pytest.raises(MeterError):
        Processor(tmp_path)


def test_this_machine_s_own_processor_time_moves() -> None:
    """The one real file that every Linux has."""
    from pathlib import Path

    processor = Processor(Path("/proc"))
    before = os.times()
    while os.times().user - before.user + os.times().system - before.system < 0.05:
        sum(range(10_000))
    busy = processor.busy_ns()
    assert busy is not None
    assert busy > 0


def memory_tree(root: Path, members: str = "7", path: str = "kubepods/pod1/c1") -> None:
    write(
        root / "proc/7", {"cgroup": f"0::/{path}", "status": "Name:\tpython\nVmHWM:\t    2000 kB\nVmRSS:\t    1000 kB"}
    )
    write(root / "fs" / path, {"cgroup.procs": members, "memory.current": 50_000_000, "memory.peak": 80_000_000})


def test_a_cgroup_of_its_own_tells_mean_and_peak(tmp_path: Path) -> None:
    memory_tree(tmp_path)
    meter = MemoryMeter(tmp_path / "fs", tmp_path / "proc", 7)
    assert (meter.source.name, meter.source.detail) == ("cgroup", "/kubepods/pod1/c1")
    meter.advance(100)
    write(tmp_path / "fs/kubepods/pod1/c1", {"memory.current": 70_000_000})
    meter.advance(110)
    assert meter.byte_seconds == 600_000_000
    assert meter.peak_bytes == 80_000_000
    meter.advance(5_000)
    assert meter.byte_seconds == 600_000_000, "what lies in a gap is not known"


def test_a_cgroup_shared_with_others_says_nothing_about_the_server(tmp_path: Path) -> None:
    memory_tree(tmp_path, members="7\n8")
    meter = MemoryMeter(tmp_path / "fs", tmp_path / "proc", 7)
    assert meter.source.name == "process"
    meter.advance(0)
    meter.advance(2)
    assert meter.byte_seconds == 2 * 1000 * 1024
    assert meter.peak_bytes == 2000 * 1024


def test_a_kernel_without_a_peak_gets_the_largest_value_seen(tmp_path: Path) -> None:
    memory_tree(tmp_path)
    (tmp_path / "fs/kubepods/pod1/c1/memory.peak").unlink()
    meter = MemoryMeter(tmp_path / "fs", tmp_path / "proc", 7)
    write(tmp_path / "fs/kubepods/pod1/c1", {"memory.current": 90_000_000})
    meter.advance(1)
    write(tmp_path / "fs/kubepods/pod1/c1", {"memory.current": 10_000_000})
    meter.advance(2)
    assert meter.peak_bytes == 90_000_000


def test_a_path_that_leaves_the_namespace_is_not_followed(tmp_path: Path) -> None:
    memory_tree(tmp_path)
    write(tmp_path / "proc/7", {"cgroup": "0::/../../kubepods/pod1/c1"})
    assert MemoryMeter(tmp_path / "fs", tmp_path / "proc", 7).source.name == "process"
    with pytest.raises(MeterError):
        MemoryMeter(tmp_path / "fs", tmp_path / "proc", 8)


def test_this_process_has_memory() -> None:
    """Real files: whichever source it is, it says something of the right order."""
    from pathlib import Path

    meter = MemoryMeter(Path("/sys/fs/cgroup"), Path("/proc"), os.getpid())
    meter.advance(0)
    meter.advance(1)
    assert 10e6 < meter.byte_seconds < 1e12
    assert meter.peak_bytes >= meter.byte_seconds * 0.5
