"""Models that people really have, and that break servers: work that depends on values, weights in other files, odd places."""

from __future__ import annotations

import contextlib
import threading
import time
from http.client import HTTPException
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest

from tests.edge import graphs
from tests.edge.devices import place, serving, wait_until
from trimtab_edge.serving.failure import Fault, RequestError
from trimtab_edge.serving.onnx_file import inputs_without_rank
from trimtab_edge.serving.pacing import Pacing
from trimtab_edge.serving.session import OnnxSession
from trimtab_edge.serving.tensors import InferRequest, Tensor
from trimtab_edge.serving.watchdog import Watchdog
from trimtab_kernel.identity import Digest
from trimtab_kernel.problems import InputError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from tests.edge.devices import Server

FOREVER = 2**62


def turns(n: int) -> tuple[dict[str, Any], dict[str, Any]]:
    return (
        {"name": "n", "shape": [], "datatype": "INT64", "data": [n]},
        {"name": "x", "shape": [], "datatype": "FP32", "data": [0.5]},
    )


def never_answered(server: Server) -> None:
    with contextlib.suppress(OSError, HTTPException):
        server.infer("counter", *turns(FOREVER), parameters={"timeout": 600_000_000})


def test_a_request_that_never_ends_holds_up_nobody_and_ends_with_its_deadline(tmp_path: Path) -> None:
    """Its size was always short so far, so it begins on the thread that answers everybody."""
    place(tmp_path / "models", "counter", "1.0.0", graphs.counter())
    place(tmp_path / "models", "adder", "1.0.0", graphs.adder(0.5))
    row = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
    with serving(tmp_path / "models", tmp_path / "log", "--threads", "2") as server:
        server.wait_ready("counter")
        server.wait_ready("adder")
        for _ in range(2):
            for _ in range(3):
                assert server.infer("counter", *turns(7)).json["outputs"][0]["data"] == [7.5]
            reply = server.infer("counter", *turns(FOREVER), parameters={"timeout": 200_000})
            assert reply.status == 504, reply.body
            assert server.infer("adder", row).status == 200
        asked = threading.Thread(target=never_answered, args=(server,))
        asked.start()
        for _ in range(3):
            assert server.infer("adder", row).status == 200
        assert asked.is_alive()
        server.process.kill()
        asked.join()
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_a_watchdog_ends_the_run_that_takes_too_long_and_no_other() -> None:
    session, watchdog = OnnxSession(graphs.counter(), "m"), Watchdog(0.05)

    def run(n: int) -> float:
        feeds = {"n": np.array(n), "x": np.array(0.5, np.float32)}
        stop = watchdog.begin()
        try:
            return float(session.run(["y"], feeds, stop)[0][0])
        finally:
            watchdog.end()

    try:
        assert run(3) == 3.5
        with pytest.raises(RequestError) as caught:
            run(FOREVER)
        assert caught.value.fault is Fault.DEADLINE
        assert run(3) == 3.5
    finally:
        watchdog.close()
    assert "watchdog" not in {thread.name for thread in threading.enumerate()}


def test_a_watchdog_that_slept_is_awake_for_the_next_run() -> None:
    session, watchdog = OnnxSession(graphs.counter(), "m"), Watchdog(0.01)
    try:
        for _ in range(3):
            watchdog.begin()
            watchdog.end()
            wait_until(lambda: watchdog.rests, 30)
            with pytest.raises(RequestError):
                session.run(["y"], {"n": np.array(FOREVER), "x": np.array(0.5, np.float32)}, watchdog.begin())
            watchdog.end()
    finally:
        watchdog.close()


def test_what_surprised_is_learned_anew_and_after_a_few_times_not_trusted_any_more() -> None:
    pacing = Pacing()
    for _ in range(3):
        pacing.observe(4, 1e-5)
        assert pacing.in_place(4)
        pacing.surprised()
        assert not pacing.in_place(4)
    for _ in range(100):
        pacing.observe(4, 1e-5)
    assert not pacing.in_place(4)


def test_a_model_whose_first_run_does_not_end_is_given_up() -> None:
    began = time.monotonic()
    with pytest.raises(InputError, match="not ended after"):
        OnnxSession(graphs.endless(), "m").warm_up(limit=0.2)
    assert time.monotonic() - began < 30


def test_weights_in_other_files_are_those_beside_the_model_and_only_where_no_digest_is_stated(tmp_path: Path) -> None:
    """Never those of the directory in which the process was started, and never ones beyond the model's own."""
    models, content = tmp_path / "models", graphs.with_outside_weights("weights.bin")
    beside = place(models, "beside", "1.0.0", content)
    (beside / "weights.bin").write_bytes(np.array([1, 10, 100, 1000], np.float32).tobytes())
    stated = place(models, "stated", "1.0.0", content, f"digest: {Digest.of(content)}\n")
    (stated / "weights.bin").write_bytes(bytes(16))
    for name, location in (
        ("climbs", "../../weights.bin"),
        ("absolute", str(tmp_path / "weights.bin")),
        ("absent", "no.bin"),
    ):
        place(models, name, "1.0.0", graphs.with_outside_weights(location))
    for elsewhere in (tmp_path, models):
        (elsewhere / "weights.bin").write_bytes(np.full(4, 7, np.float32).tobytes())
    with serving(models, tmp_path / "log") as server:
        server.wait_ready("beside")
        reply = server.infer("beside", {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]})
        assert reply.json["outputs"][0]["data"] == [4321.0]
        for name in ("stated", "climbs", "absolute", "absent"):
            wait_until(lambda name=name: server.readiness(name).json["state"] == "FAILED", 60)  # type: ignore[misc] # mypy cannot infer a lambda with a default
        assert "all weights within the file" in server.readiness("stated").json["reason"]


def test_a_model_that_lies_where_none_is_looked_for_is_named_once(tmp_path: Path) -> None:
    models, content = tmp_path / "models", graphs.adder(0.5)
    place(models, "adder", "1.0.0", content)
    place(models, "Two Words", "1.0.0", content)
    place(models, "numbered", "v1", content)
    (models / "flat").mkdir()
    (models / "flat/model.onnx").write_bytes(content)
    (models / "lost+found").mkdir()
    with serving(models, tmp_path / "log") as server:
        server.wait_ready("adder")
        place(models, "adder", "2.0.0", content)
        server.wait_ready("adder", "2.0.0")
        assert [entry["name"] for entry in server.ask("POST", "/v2/repository/index").json] == ["adder", "adder"]
    said = [line.partition("passed over: ")[2] for line in (tmp_path / "log").read_text().splitlines()]
    assert [line[:20] for line in said if line] == [
        '"Two Words" is no na',
        "flat/model.onnx belo",
        '"numbered/v1" is no ',
    ]


def test_an_input_without_a_declared_shape_takes_any_and_a_scalar_only_a_scalar() -> None:
    model = onnx.load_from_string(graphs.counter())
    x = next(one for one in model.graph.input if one.name == "x")
    x.type.tensor_type.ClearField("shape")
    model.graph.output[0].type.tensor_type.ClearField("shape")
    content = model.SerializeToString()
    session = OnnxSession(content, "m")
    assert [(spec.name, spec.shape, spec.ranked) for spec in session.signature.inputs] == [
        ("n", (), True),
        ("x", (), False),
    ]
    two, one = np.zeros((2, 3), np.float32), np.array(1)
    feeds = session.signature.feeds(InferRequest((Tensor("n", "INT64", one), Tensor("x", "FP32", two))))
    [answer], _ = session.run(["y"], feeds)
    assert answer.tolist() == np.ones((2, 3)).tolist()
    with pytest.raises(RequestError, match="expected"):
        session.signature.feeds(InferRequest((Tensor("n", "INT64", np.array([1])), Tensor("x", "FP32", two))))
    assert inputs_without_rank(content) == {"x"}
    for cut in range(0, len(content), 3):
        assert inputs_without_rank(content[:cut]) <= {"n", "x"}
    assert inputs_without_rank(bytes(1000)) == inputs_without_rank(b"\xff" * 1000) == frozenset()
