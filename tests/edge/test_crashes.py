"""Kill -9 at every step: the device converges, and whoever starts a server finds a verified model at every moment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.edge import crash_matrix, graphs
from tests.edge.devices import ALIGNMENT, Fleet, sample, serving

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


def matrix(name: str, root: Path, doubles: int = 0, seed: int = 0) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "tests.edge.crash_matrix", name, str(root), str(doubles), str(seed)],
        cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["findings"] == []
    # Were the hooks not in place, there would be no points, and nothing would have been shown.
    assert 2 < found["points"] < crash_matrix.MOST


@pytest.mark.parametrize("name", ["an update", "a failed probation", "a damaged model"])
def test_a_kill_at_every_change_of_the_disk_leaves_a_whole_model_and_a_device_that_converges(
    tmp_path: Path, name: str
) -> None:
    matrix(name, tmp_path)


@pytest.mark.long
@pytest.mark.timeout(1000)
@pytest.mark.parametrize("name", crash_matrix.SCENARIOS)
def test_one_kill_anywhere_and_two_at_any_two_points_do_no_harm(tmp_path: Path, name: str) -> None:
    """Of every scenario; those above are the ones in which most can go wrong."""
    matrix(name, tmp_path, doubles=150, seed=7)


KILLED = """
import sys
from tests.edge.crash_matrix import killed_at
sys.exit(killed_at(int(sys.argv[1]), sys.argv[2:]))
"""


def test_a_running_server_answers_rightly_whatever_happens_to_the_agent(tmp_path: Path) -> None:
    """The agent is killed over and over in the middle of updates, one of them broken; requests never fail."""
    fleet = Fleet(tmp_path / "fleet")
    scores = {"1.0.0": 10.5, "1.1.0": 11.5}
    good = [fleet.publish(version, graphs.adder(score - 10)) for version, score in scores.items()]
    broken = [fleet.publish(f"2.{number}.0", b"not a model %d" % number) for number in range(4)]
    (tmp_path / "models").mkdir()
    with serving(tmp_path / "models", tmp_path / "log") as server:
        arguments = [
            "agent", "--desired", str(fleet.mount), "--model-repository", str(tmp_path / "models"),
            "--state", str(tmp_path / "state"), "--artifacts", str(fleet.store), "--device", "d",
            "--serve-url", server.url, "--memory-mb", "1000", "--once",
        ]  # fmt: skip

        def run(point: int) -> int:
            command = [sys.executable, "-c", KILLED, str(point), *arguments]
            return subprocess.run(
                command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, timeout=60, check=False
            ).returncode

        def answers() -> str:
            row = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
            reply = server.infer("adder", row)
            assert reply.status == 200, reply.body
            version: str = reply.json["model_version"]
            assert reply.json["outputs"][0]["data"] == [scores[version]]
            return version

        fleet.ask("adder", good[0], alignment=ALIGNMENT)
        assert run(10**9) == 0
        assert answers() == "1.0.0"
        killed = 0
        targets = [good[1], broken[0], good[0], broken[1], good[1], broken[2], good[0], broken[3]]
        for target, point in zip(targets, range(7, 39, 4), strict=True):
            fleet.ask("adder", target, alignment=ALIGNMENT)
            killed += run(point) == -9
            answers()
        assert killed >= 6
        fleet.ask("adder", good[1], alignment=ALIGNMENT)
        assert run(10**9) == 0
        assert answers() == "1.1.0"
        samples = server.samples()
    for reason in ("bad_request", "overloaded", "internal"):
        assert sample(samples, "trimtab_inference_failures_total", model="adder", reason=reason) == 0
