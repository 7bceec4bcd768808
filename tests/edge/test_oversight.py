"""A real server with everything switched on: labels, evidence, explanations, meters, noise; and its budget of series."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.edge.devices import ALIGNMENT, COMMAND, Fleet, Server, place, sample, samples_of, serving, wait_until
from tests.edge.energy.trees import RANGE, rapl, stat, write
from tests.edge.graphs import adder, onnx_bytes
from trimtab_edge.conduct import Sampling
from trimtab_edge.serving.sampling import Samples, one_row
from trimtab_edge.serving.tensors import Signature, TensorSpec
from trimtab_edge.settings import ModelDescription
from trimtab_kernel.evidence import parse_evidence
from trimtab_kernel.fairness import Confusion

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.edge.devices import Reply

SCORED = replace(ALIGNMENT, score_output="p")
TAGS = (("team", "care"), ("businessUnit", "health"))
DESCRIPTION = ModelDescription(alignment=SCORED, tier="lite", quantization="int8", tags=TAGS).to_bytes().decode()


def judge(bias: float) -> bytes:
    """``p = sigmoid(x1 + x2 + x3 + bias)``, ``label = p > 0.5`` per row of ``x`` (FP32 [N, 4]); x0 is the cohort."""
    return onnx_bytes(f"""
        judge (float[N, 4] x) => (float[N] p, int64[N] label)
        <float[4, 1] w = {{0.0, 1.0, 1.0, 1.0}}, float bias = {{{bias}}}, float mark = {{0.5}}, int64[1] flat = {{-1}}>
        {{
            total = MatMul (x, w)
            flat_total = Reshape (total, flat)
            moved = Add (flat_total, bias)
            p = Sigmoid (moved)
            above = Greater (p, mark)
            label = Cast <to = 7> (above)
        }}""")


def rows(*values: list[float]) -> dict[str, Any]:
    return {"name": "x", "shape": [len(values), 4], "datatype": "FP32", "data": [x for row in values for x in row]}


def post(server: Server, path: str, **fields: Any) -> Reply:  # noqa: ANN401 - any JSON
    return server.ask("POST", f"/v2/models/judge/{path}", json.dumps(fields).encode())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("oversight")
    directory = root / "models/judge/1.0.0"
    directory.mkdir(parents=True)
    (directory / "model.onnx").write_bytes(judge(0.0))
    (directory / "model.yaml").write_text(DESCRIPTION)
    plain = root / "models/adder/1.0.0"
    plain.mkdir(parents=True)
    (plain / "model.onnx").write_bytes(adder(0.0))
    with serving(root / "models", root / "log") as running:
        running.wait_ready("judge")
        running.wait_ready("adder")
        yield running


def evidence(server: Server, version: str = "") -> Any:  # noqa: ANN401 - a JSON body
    reply = server.ask("GET", f"/v2/models/judge{version}/alignment")
    assert reply.status == 200, reply.body
    return parse_evidence(reply.body)


def test_labels_that_come_later_find_their_decisions(server: Server) -> None:
    before = evidence(server)
    assert server.infer("judge", rows([1, 2, 0, 0], [2, -2, 0, 0], [9, 1, 0, 0]), id="visit-1").status == 200
    reply = post(server, "labels", id="visit-1", label=[0, 0, 1])
    assert reply.json == {"model_name": "judge", "model_version": "1.0.0", "id": "visit-1", "counted": 3}
    after = evidence(server)
    assert after.cohorts["one"].labelled == before.cohorts["one"].labelled + Confusion(false_positives=1)
    assert after.cohorts["two"].labelled == before.cohorts["two"].labelled + Confusion(true_negatives=1)
    assert after.cohorts["one"].positive == before.cohorts["one"].positive + 1
    assert sum(after.scores.labelled) == sum(before.scores.labelled) + 3, "a row of no cohort has a score all the same"
    found = server.samples()
    assert sample(
        found, "trimtab_labelled_decisions_total",
        model="judge", version="1.0.0", cohort="one", outcome="positive", label="negative",
    ) == after.cohorts["one"].labelled.false_positives  # fmt: skip
    repeat = post(server, "versions/1.0.0/labels", id="visit-1", label=[0, 0, 1])
    assert (repeat.status, repeat.json["counted"]) == (200, 0)
    assert evidence(server).cohorts == after.cohorts


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("judge/labels", {"id": "nobody", "label": 1}, 404, "no decision of this id"),
        ("judge/labels", {"id": "known", "label": [1, 1]}, 400, "2 labels, expected 1"),
        ("judge/labels", {"id": "known", "label": "yes"}, 400, "expected a number, true or false"),
        ("judge/labels", {"id": "known"}, 400, "label"),
        ("judge/labels", {"id": "known", "label": 1, "rows": []}, 400, "rows"),
        ("judge/labels", {"id": "", "label": 1}, 400, "expected 1 to 1024"),
        ("judge/labels", {"id": "known", "label": 0}, 409, "labelled before"),
        ("judge/versions/9.9.9/labels", {"id": "known", "label": 1}, 400, "made by version 1.0.0"),
        ("adder/labels", {"id": "known", "label": 1}, 400, "declares no outcome"),
        ("nothing/labels", {"id": "known", "label": 1}, 404, "no such model"),
    ],
)
def test_a_label_that_does_not_fit_is_refused(server: Server, path: str, body: Any, status: int, says: str) -> None:  # noqa: ANN401 - any JSON
    server.infer("judge", rows([1, 2, 0, 0]), id="known")
    assert post(server, "labels", id="known", label=1).status == 200
    reply = server.ask("POST", f"/v2/models/{path}", json.dumps(body).encode())
    assert (reply.status, says in reply.json["error"]) == (status, True), reply.body


def test_a_request_without_an_id_is_not_kept_and_bad_json_is_the_clients_fault(server: Server) -> None:
    assert server.infer("judge", rows([1, 2, 0, 0])).status == 200
    assert server.ask("POST", "/v2/models/judge/labels", b"[").status == 400
    assert server.ask("GET", "/v2/models/judge/labels").status == 405
    assert server.ask("POST", "/v2/models/judge/alignment", b"{}").status == 405


def test_the_evidence_holds_scores_and_a_sketch_of_every_feature(server: Server) -> None:
    for number in range(150):
        server.infer("judge", rows([1, number / 50, 0, 0]))
    found = evidence(server, "/versions/1.0.0")
    assert {sketch.feature for sketch in found.sketches} == {"x[0]", "x[1]", "x[2]", "x[3]", "p", "label"}
    assert found.scores.n >= 150
    n = sample(server.samples(), "trimtab_scored_decisions_total", model="judge", version="1.0.0")
    right = sample(server.samples(), "trimtab_expected_right_decisions_total", model="judge", version="1.0.0")
    assert n == found.scores.n
    # p is at least 0.5 here and 0.95 at most: so is the share that is expected to be right.
    assert n is not None
    assert right is not None
    assert 0.5 < right / n < 0.96
    assert server.ask("GET", "/v2/models/judge/versions/2.0.0/alignment").status == 404
    assert server.ask("GET", "/v2/models/nothing/alignment").status == 404


def explain(server: Server, **parameters: Any) -> Reply:  # noqa: ANN401 - any JSON
    return post(server, "explain", inputs=[rows([1, 2, -1, 0.5])], id="why", parameters=parameters)


def test_an_answer_is_explained_and_contributions_add_up(server: Server) -> None:
    reply = explain(server, reference={"x": [0, 0, 0, 0]})
    assert reply.status == 200, reply.body
    assert (reply.json["output"], reply.json["column"], reply.json["id"]) == ("p", 0, "why")
    [found] = reply.json["explanations"]
    assert (found["method"], found["exact"], found["additive"], found["base"]) == ("shapley", True, True, 0.5)
    values = [contribution["value"] for contribution in found["contributions"]]
    assert sum(values) == pytest.approx(found["prediction"] - found["base"], abs=1e-9)
    assert values[0] == 0, "the model does not look at the cohort"
    assert values[1] > values[3] > 0 > values[2]


def test_the_same_request_gets_the_same_explanation_and_asking_is_not_deciding(server: Server) -> None:
    reference = {"x": [0.1, 0.2, 0.3, 0.4]}
    before = sample(server.samples(), "trimtab_inference_requests_total", model="judge", version="1.0.0")
    sampled = [explain(server, budget=14, seed=5, reference=reference).json for _ in range(2)]
    assert sampled[0] == sampled[1]
    assert not sampled[0]["explanations"][0]["exact"]
    assert sampled[0]["explanations"][0]["evaluations"] <= 14
    by_id = explain(server, output="label")
    assert by_id.json["output"] == "label"
    assert sample(server.samples(), "trimtab_inference_requests_total", model="judge", version="1.0.0") == before


def test_what_stands_for_an_absent_column_is_what_the_box_saw(server: Server) -> None:
    for number in range(120):
        server.infer("adder", {**rows([number, 1, 1, 1]), "name": "x"})
    reply = server.ask("POST", "/v2/models/adder/explain", json.dumps({"inputs": [rows([1, 2, 3, 4])]}).encode())
    [first, *rest] = reply.json["reference"]["x"]
    assert 50 <= first <= 70
    assert rest == [1, 1, 1]


@pytest.mark.parametrize(
    ("parameters", "status", "says"),
    [
        ({"budget": 4}, 400, "expected at least 5 for 4 features"),
        ({"budget": 10**9}, 400, "budget"),
        ({"deadline_ms": 0}, 400, "deadline_ms"),
        ({"deadline_ms": 1e9}, 400, "deadline_ms"),
        ({"seed": -1}, 400, "seed"),
        ({"seed": "a"}, 400, "seed"),
        ({"parts": 0}, 400, "parts"),
        ({"output": "nothing"}, 400, 'expected one of "p", "label"'),
        ({"column": 7}, 400, "column 7, expected 0 to 0"),
        ({"reference": {"x": [1]}}, 400, "1 reference values"),
    ],
)
def test_an_explanation_that_cannot_be_given_says_why(
    server: Server, parameters: dict[str, Any], status: int, says: str
) -> None:
    reply = explain(server, **parameters)
    assert (reply.status, says in reply.json["error"]) == (status, True), reply.body


def test_only_one_row_of_a_valid_request_is_explained(server: Server) -> None:
    assert post(server, "explain", inputs=[rows([1, 1, 1, 1], [1, 1, 1, 1])]).status == 400
    assert post(server, "explain", inputs=[]).status == 400
    assert server.ask("POST", "/v2/models/nothing/explain", json.dumps({"inputs": []}).encode()).status == 404
    assert server.ask("GET", "/v2/models/judge/explain").status == 405


def test_the_series_of_a_model_tell_whose_it_is(server: Server) -> None:
    about = {"team": "care", "business_unit": "health", "tier": "lite", "quantization": "int8"}
    assert sample(server.samples(), "trimtab_model_ready", model="judge", version="1.0.0", **about) == 1


def test_bytes_count_both_ways(server: Server) -> None:
    body = json.dumps({"inputs": [rows([1, 2, 3, 4])]}).encode()
    names = [
        ("trimtab_inference_bytes_total", {"model": "judge", "version": "1.0.0", "direction": d}) for d in ("in", "out")
    ]
    before = [sample(server.samples(), name, **labels) or 0 for name, labels in names]
    reply = server.ask("POST", "/v2/models/judge/infer", body)
    after = [sample(server.samples(), name, **labels) or 0 for name, labels in names]
    assert [new - old for new, old in zip(after, before, strict=True)] == [len(body), len(reply.body)]


def test_without_a_meter_no_joule_is_claimed(server: Server, tmp_path: Path) -> None:
    """On a machine that has one, this server would use it; so this one is pointed at an empty tree."""
    (tmp_path / "models").mkdir()
    with serving(tmp_path / "models", tmp_path / "log", "--sys", str(tmp_path / "sys")) as bare:
        found = bare.samples()
        assert not [name for name, _ in found if "joules" in name]
        [info] = [dict(labels) for name, labels in found if name == "trimtab_device_info"]
        assert (info["energy_source"], info["energy_grade"], info["gpu_grade"]) == ("none", "absent", "absent")
        assert info["architecture"]
        assert (sample(found, "trimtab_memory_peak_bytes") or 0) > 1e7


def test_joules_of_a_made_meter_are_shared_out_and_no_more_than_it_said(tmp_path: Path) -> None:
    """A replayed tree, no real meter: the figures are ours, how they are shared out is the server's."""
    directory = tmp_path / "models/judge/1.0.0"
    directory.mkdir(parents=True)
    (directory / "model.onnx").write_bytes(judge(0.0))
    rapl(tmp_path / "sys", {"intel-rapl:0": ("package-0", RANGE - 1_000_000)})
    write(tmp_path / "proc", {"stat": stat(1_000)})
    options = ("--sys", str(tmp_path / "sys"), "--proc", str(tmp_path / "proc"), "--battery-watt-hours", "10")
    with serving(tmp_path / "models", tmp_path / "log", *options) as server:
        server.wait_ready("judge")
        for _ in range(50):
            server.infer("judge", rows([1, 2, 3, 4]))
        rapl(tmp_path / "sys", {"intel-rapl:0": ("package-0", 999_999)})  # 2 J more, over the counter's end
        wait_until(
            lambda: (sample(server.samples(), "trimtab_energy_joules_total", source="rapl", grade="measured") or 0) > 0
        )
        found = server.samples()
        assert sample(found, "trimtab_energy_joules_total", source="rapl", grade="measured") == pytest.approx(2.0)
        part = sample(
            found, "trimtab_inference_joules_total", model="judge", version="1.0.0", source="rapl", grade="measured"
        )
        assert part is not None
        assert 0 < part <= 2.0
        assert sample(found, "trimtab_battery_used_ratio_total") == pytest.approx(part / 36_000)


def everything(tmp_path: Path, models: tuple[str, ...], *, update: bool) -> list[str]:
    """The expositions of serve and agent with all that can be on, of so many models; after an update if asked."""
    fleet = Fleet(tmp_path / "fleet")
    (tmp_path / "models").mkdir()
    rapl(tmp_path / "sys", {"intel-rapl:0": ("package-0", 5)})
    write(tmp_path / "proc", {"stat": stat(1_000)})
    first, second = fleet.publish("1.0.0", judge(0.0)), fleet.publish("1.1.0", judge(1.0))
    for model in models:
        fleet.want(model, first, alignment=SCORED)
    fleet.mount_document()
    options = ("--sys", str(tmp_path / "sys"), "--cpu-watts", "3", "--battery-watt-hours", "40", "--region", "EU")
    with serving(tmp_path / "models", tmp_path / "log", *options) as server, (tmp_path / "agent.log").open("w") as log:
        command = [
            *COMMAND, "agent", "--desired", fleet.mount, "--model-repository", tmp_path / "models", "--state",
            tmp_path / "state", "--artifacts", fleet.store, "--device", "d", "--serve-url", server.url,
            "--metrics-port", "0", "--interval", "0.1",
        ]  # fmt: skip
        process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert process.stdout is not None
            agent = Server(
                process, "127.0.0.1", int(process.stdout.readline().rpartition(":")[2]), tmp_path / "agent.log"
            )
            version = "1.0.0"
            for model in models:
                server.wait_ready(model, version)
                server.infer(model, rows([1, 2, 3, 4], [2, -2, -3, -4]), id="one")
                server.ask("POST", f"/v2/models/{model}/labels", json.dumps({"id": "one", "label": [1, 1]}).encode())
            if update:
                version = "1.1.0"
                for model in models:
                    fleet.ask(model, second, alignment=SCORED)
                for model in models:
                    server.wait_ready(model, version)
            for model in models:
                active = {"model": model, "version": version}
                wait_until(lambda active=active: sample(agent.samples(), "trimtab_agent_active", **active) == 1)  # type: ignore[misc] # mypy cannot infer a lambda with a default
            return [one.ask("GET", "/metrics").body.decode() for one in (server, agent)]
        finally:
            process.terminate()
            assert process.wait(30) == 0
            if process.stdout is not None:
                process.stdout.close()


@pytest.mark.parametrize("update", [False, True])
def test_the_budget_of_series_holds_with_everything_on(tmp_path: Path, *, update: bool) -> None:
    """At most 60 for one model with two cohorts over both processes, also while a replaced version is still told of: labels
    and scores wait for their turn then."""
    texts = everything(tmp_path, ("judge",), update=update)
    series = [key for text in texts for key in samples_of(text)]
    families = {name for name, _ in series}
    for needed in ("joules", "memory_peak", "battery_used", "bytes", "queue"):
        assert any(needed in name for name in families), needed
    for waiting in ("labelled", "scored", "expected_right"):
        assert any(waiting in name for name in families) != update, waiting
    assert len(series) == len(set(series)) <= 60
    if shutil.which("promtool") is None:
        pytest.skip("needs promtool")
    for text in texts:
        result = subprocess.run(
            ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60, check=False
        )
        assert (result.returncode, result.stdout + result.stderr) == (0, "")


def test_a_further_model_adds_at_most_forty_five_series(tmp_path: Path) -> None:
    counts = []
    for models in (("judge",), ("judge", "second")):
        place = tmp_path / str(len(models))
        place.mkdir()
        counts.append(sum(len(samples_of(text)) for text in everything(place, models, update=False)))
    assert counts[1] - counts[0] <= 45


def test_with_noise_nothing_exact_leaves(tmp_path: Path) -> None:
    directory = tmp_path / "models/judge/1.0.0"
    directory.mkdir(parents=True)
    (directory / "model.onnx").write_bytes(judge(0.0))
    (directory / "model.yaml").write_text(DESCRIPTION)
    options = ("--privacy-epsilon", "0.5", "--privacy-period", "2")
    with serving(tmp_path / "models", tmp_path / "log", *options) as server:
        server.wait_ready("judge")
        wait_until(lambda: evidence(server).periods >= 1)
        member = rows(*[[1.0, 2.0, 0.0, 0.0]] * 500)
        server.infer("judge", member)
        labels = {"model": "judge", "version": "1.0.0", "cohort": "one", "outcome": "positive"}
        wait_until(lambda: (sample(server.samples(), "trimtab_decisions_total", **labels) or 0) > 300)
        found = evidence(server)
        assert found.epsilon == Decimal("0.5")
        assert found.sketches == ()
        # Sensitivity 6 at epsilon 0.5: a standard deviation of 17 a period.
        assert found.cohorts["one"].positive == pytest.approx(500, abs=250)
        assert server.infer("judge", member).status == 200


def sampled(tmp_path: Path, rules: dict[str, Any], *options: str) -> AbstractContextManager[Server]:
    description = json.loads(ModelDescription(alignment=ALIGNMENT).to_bytes()) | {"explanations": rules}
    place(tmp_path / "models", "adder", "1.0.0", adder(0.5), json.dumps(description))
    return serving(tmp_path / "models", tmp_path / "log", *options)


def test_of_a_model_marked_high_stakes_one_answer_in_so_many_is_explained(tmp_path: Path) -> None:
    """The adder's score is the sum of its columns, so each contributes what it is beyond its reference, 0."""
    path, row = (
        "/v2/models/adder/explanations",
        {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]},
    )
    with sampled(tmp_path, {"oneIn": 5, "perHour": 3, "budget": 64, "deadlineMs": 5000}) as server:
        server.wait_ready("adder")
        assert server.ask("GET", path).json["explained"] == 0
        for number in range(30):
            assert server.infer("adder", row).status == 200
            if number % 5 == 0:
                done = min(number // 5 + 1, 3)
                wait_until(lambda done=done: server.ask("GET", path).json["explained"] == done)  # type: ignore[misc] # mypy cannot infer a lambda with a default
        told = server.ask("GET", path).json
        assert (told["answers"], told["explained"], told["failed"]) == (30, 3, 0)
        assert [feature["column"] for feature in told["features"]] == [3, 2, 1, 0]
        assert [feature["mean"] for feature in told["features"]] == pytest.approx([4, 3, 2, 1], abs=1e-4)
        assert sample(server.samples(), "trimtab_explanations_sampled_total") == 3
        assert server.ask("GET", "/v2/models/adder/versions/9.9.9/explanations").status == 404
        assert server.ask("POST", path, b"{}").status == 405


def test_sampled_explanations_do_not_leave_where_counts_get_noise_or_nothing_is_declared(tmp_path: Path) -> None:
    with sampled(tmp_path, {}, "--privacy-epsilon", "1") as server:
        server.wait_ready("adder")
        assert server.ask("GET", "/v2/models/adder/explanations").status == 403
    place(tmp_path / "others", "adder", "1.0.0", adder(0.5))
    with serving(tmp_path / "others", tmp_path / "log") as server:
        server.wait_ready("adder")
        assert server.ask("GET", "/v2/models/adder/explanations").status == 404
        assert sample(server.samples(), "trimtab_explanations_sampled_total") is None


def test_an_hour_has_its_allowance_and_a_row_is_chosen_of_each_batch() -> None:
    samples = Samples(Sampling(one_in=2, per_hour=2, budget=64, deadline=1.0))
    assert [samples.due(now) for now in (0, 1, 2, 3, 4, 5, 3600, 3601)] == [
        True, False, True, False, False, False, True, False,
    ]  # fmt: skip
    spec = TensorSpec("x", "FP32", (None, 2))
    feeds = {"x": np.arange(6, dtype=np.float32).reshape(3, 2)}
    chosen = [one_row(Signature((spec,), ()), feeds, place).inputs[0].array.tolist() for place in (0, 1, 5)]
    assert chosen == [[[0, 1]], [[2, 3]], [[4, 5]]]
