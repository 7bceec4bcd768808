"""The server follows the disk: what answers, what keeps answering, and what is let go."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import weakref
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.edge import graphs
from tests.edge.devices import ALIGNMENT, activate, place
from trimtab_edge.serving.dataplane import DataPlane
from trimtab_edge.serving.failure import Fault, RequestError
from trimtab_edge.serving.headroom import Headroom
from trimtab_edge.serving.repository import ModelRepository, State
from trimtab_edge.serving.tensors import InferRequest, Tensor
from trimtab_edge.telemetry.inference import InferenceCounts
from trimtab_kernel.desired import Alignment, Cohort, alignment_json
from trimtab_kernel.identity import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trimtab_edge.serving.repository import Slot

OLD, NEW = graphs.adder(0.5), graphs.adder(1.5)
ROW = InferRequest((Tensor("x", "FP32", np.array([[1, 2, 3, 4]], np.float32)),))


@pytest.fixture
def models(tmp_path: Path) -> Path:
    place(tmp_path, "adder", "1.0.0", OLD)
    place(tmp_path, "adder", "1.1.0", NEW)
    activate(tmp_path, "adder", "1.0.0", Digest.of(OLD))
    return tmp_path


@pytest.fixture
def repository(models: Path) -> Iterator[ModelRepository]:
    made = ModelRepository(models, InferenceCounts())
    asyncio.run(made.refresh())
    yield made
    made.close()


def refreshed(repository: ModelRepository, model: str = "adder") -> Slot:
    asyncio.run(repository.refresh())
    return repository.slots[model]


def version(slot: Slot) -> str:
    assert slot.current is not None
    return slot.current.version


def test_active_json_decides_not_the_newest(repository: ModelRepository) -> None:
    assert version(repository.slots["adder"]) == "1.0.0"


def test_a_change_of_active_json_swaps_and_back(repository: ModelRepository, models: Path) -> None:
    activate(models, "adder", "1.1.0", Digest.of(NEW))
    assert version(refreshed(repository)) == "1.1.0"
    activate(models, "adder", "1.0.0", Digest.of(OLD))
    assert version(refreshed(repository)) == "1.0.0"


def test_nothing_is_loaded_again_while_nothing_changes(repository: ModelRepository) -> None:
    before = repository.slots["adder"].current
    assert refreshed(repository).current is before


def test_the_replaced_session_is_let_go_when_its_last_request_is_done(
    repository: ModelRepository, models: Path
) -> None:
    held = repository.slots["adder"].current
    assert held is not None
    session = weakref.ref(held.session)
    activate(models, "adder", "1.1.0", Digest.of(NEW))
    assert version(refreshed(repository)) == "1.1.0"
    assert held.run(ROW, held.prepare(ROW)).response.version == "1.0.0"
    del held
    gc.collect()
    assert session() is None


BROKEN = {
    "no ONNX at all": (b"not a model", None, "E402"),
    "empty file": (b"", None, "E402"),
    "cut short": (NEW[:-20], None, "E402"),
    "loads but never runs": (graphs.never_runs(), None, "E402"),
    "unknown field in model.yaml": (NEW, "colour: red\n", "E401"),
    "model.yaml is no YAML": (NEW, "a: [\n", "E401"),
    "alignment of another model": (
        NEW,
        json.dumps({"alignment": alignment_json(Alignment("z", 0, ALIGNMENT.cohorts, "label", Decimal(1)))}),
        "E403",
    ),
    "model.yaml names another digest": (NEW, f"digest: {Digest.of(OLD)}\n", "E404"),
}


@pytest.mark.parametrize(("content", "description", "code"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_version_never_replaces_one_that_answers(
    repository: ModelRepository, models: Path, content: bytes, description: str | None, code: str
) -> None:
    place(models, "adder", "2.0.0", content, description)
    activate(models, "adder", "2.0.0", None if code == "E404" else Digest.of(content))
    slot = refreshed(repository)
    assert version(slot) == "1.0.0"
    assert (slot.standing.version, slot.standing.state) == ("2.0.0", State.FAILED)
    assert code in slot.standing.reason
    activate(models, "adder", "1.0.0", Digest.of(OLD))
    slot = refreshed(repository)
    assert (version(slot), slot.standing.state) == ("1.0.0", State.READY)


def test_bytes_that_are_not_what_was_activated_are_not_served(repository: ModelRepository, models: Path) -> None:
    activate(models, "adder", "1.1.0", Digest.of(b"something else"))
    slot = refreshed(repository)
    assert version(slot) == "1.0.0"
    assert "E404" in slot.standing.reason


def test_a_version_that_is_not_there_leaves_the_other_one(repository: ModelRepository, models: Path) -> None:
    activate(models, "adder", "3.0.0", Digest.of(NEW))
    slot = refreshed(repository)
    assert version(slot) == "1.0.0"
    assert "E406" in slot.standing.reason
    place(models, "adder", "3.0.0", NEW)
    assert version(refreshed(repository)) == "3.0.0"


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"version": "../x"}', b'{"version": 1}', b'{"version": "1.1.0", "x": 1}', b"\xff" * 9000],
)
def test_an_unreadable_active_json_changes_nothing(repository: ModelRepository, models: Path, content: bytes) -> None:
    (models / "adder/active.json").write_bytes(content)
    slot = refreshed(repository)
    assert version(slot) == "1.0.0"
    assert "E405" in slot.standing.reason


def test_an_unreadable_active_json_at_start_serves_nothing(models: Path) -> None:
    """The newest could be the one that was rolled back."""
    (models / "adder/active.json").write_bytes(b"{")
    repository = ModelRepository(models, InferenceCounts())
    plane = DataPlane(repository, InferenceCounts(), threads=1, queue=1)
    assert refreshed(repository).current is None
    assert not plane.ready
    with pytest.raises(RequestError) as raised:
        plane.model("adder", None)
    assert raised.value.fault is Fault.UNAVAILABLE
    repository.close()
    plane.close()


def test_an_active_json_that_is_there_but_cannot_be_read_does_not_mean_the_newest(models: Path) -> None:
    (models / "adder/active.json").unlink()
    (models / "adder/active.json").symlink_to("active.json")
    repository = ModelRepository(models, InferenceCounts())
    slot = refreshed(repository)
    assert slot.current is None
    assert "E405" in slot.standing.reason
    repository.close()


def test_whatever_goes_wrong_with_one_model_the_others_are_looked_at(models: Path) -> None:
    """Here what judges the memory breaks at one model's size: nothing that loading is prepared for."""
    place(models, "other", "1.0.0", NEW)
    (models / "other/1.0.0/weights").write_bytes(bytes(4096))

    class Broken(Headroom):
        def refuses_load(self, file_size: int) -> str:
            if file_size > 4096:
                raise ZeroDivisionError
            return ""

    repository = ModelRepository(models, InferenceCounts(), headroom=Broken(None))
    assert version(refreshed(repository)) == "1.0.0"
    standing = repository.slots["other"].standing
    assert (standing.state, standing.reason) == (State.FAILED, "internal error (ZeroDivisionError)")
    repository.close()


def test_what_vanishes_from_the_disk_is_served_on(repository: ModelRepository, models: Path) -> None:
    models.rename(models.with_name("gone"))
    assert version(refreshed(repository)) == "1.0.0"
    models.with_name("gone").rename(models)
    activate(models, "adder", "1.1.0", Digest.of(NEW))
    assert version(refreshed(repository)) == "1.1.0"


def test_the_digest_directory_comes_before_the_version_directory(repository: ModelRepository, models: Path) -> None:
    """A version whose variant changes is switched by active.json alone, wherever its link points at that moment."""
    by_digest = models / "adder/.by-digest" / Digest.of(NEW).hex
    by_digest.mkdir(parents=True)
    (by_digest / "model.onnx").write_bytes(NEW)
    activate(models, "adder", "1.0.0", Digest.of(NEW))
    slot = refreshed(repository)
    assert slot.current is not None
    assert (slot.current.version, slot.current.digest) == ("1.0.0", Digest.of(NEW))


def test_other_formats_and_foreign_names_are_no_models(repository: ModelRepository, models: Path) -> None:
    (models / "app/1.0.0").mkdir(parents=True)
    (models / "app/1.0.0/model.bin").write_bytes(b"for the app")
    activate(models, "app", "1.0.0", Digest.of(b"for the app"))
    for name in ("Not A Name", ".hidden", "lost+found"):
        place(models, name, "1.0.0", NEW)
    (models / "a-file").write_text("")
    (models / "empty").mkdir()
    place(models, "words", "latest", NEW)
    asyncio.run(repository.refresh())
    assert set(repository.slots) == {"adder"}


def test_a_pipe_in_the_place_of_a_model_does_not_block(repository: ModelRepository, models: Path) -> None:
    directory = models / "adder/4.0.0"
    directory.mkdir()
    os.mkfifo(directory / "model.onnx")
    activate(models, "adder", "4.0.0", None)
    slot = refreshed(repository)
    assert version(slot) == "1.0.0"
    assert "regular file" in slot.standing.reason


def test_another_alignment_of_the_same_bytes_keeps_the_session_and_the_counts(models: Path) -> None:
    described = models / "adder/1.0.0/model.yaml"
    described.write_text(json.dumps({"alignment": alignment_json(ALIGNMENT)}))
    counts = InferenceCounts()
    repository = ModelRepository(models, counts)
    plane = DataPlane(repository, counts, threads=1, queue=1)

    async def one_request() -> None:
        plane.answered(await plane.infer("adder", None, ROW), 0.001)

    session = (found := refreshed(repository).current) and found.session
    asyncio.run(one_request())
    other = Alignment("x", 1, (Cohort("two", value=Decimal(2)), Cohort("three", value=Decimal(3))), "label", Decimal(1))
    described.write_text(json.dumps({"alignment": alignment_json(other)}))
    found = refreshed(repository).current
    assert found is not None
    assert found.session is session
    asyncio.run(one_request())
    assert counts.models["adder"].versions["1.0.0"].decisions == {
        ("one", "negative"): 0,
        ("one", "positive"): 1,
        ("two", "negative"): 0,
        ("two", "positive"): 1,
        ("three", "negative"): 0,
        ("three", "positive"): 0,
    }
    repository.close()
    plane.close()


def test_nobody_is_told_ready_before_the_disk_was_read_and_each_model_of_it_answers(models: Path) -> None:
    place(models, "second", "1.0.0", OLD)
    repository = ModelRepository(models, InferenceCounts())
    plane = DataPlane(repository, InferenceCounts(), threads=1, queue=1)
    told: list[tuple[bool, list[State]]] = []
    repository.on_change = lambda served: told.append(
        (plane.ready, [slot.standing.state for slot in repository.slots.values()])
    )
    try:
        assert not plane.ready
        asyncio.run(repository.refresh())
        assert told == [(False, [State.LOADING, State.LOADING]), (False, [State.READY, State.LOADING])]
        assert plane.ready
    finally:
        repository.close()
        plane.close()
