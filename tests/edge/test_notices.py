"""Changes in a model repository are told by the kernel, at once and without looking all the time."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from tests.edge import graphs
from tests.edge.devices import activate, place
from trimtab_edge.serving import notices, repository
from trimtab_edge.serving.notices import Notices
from trimtab_edge.serving.repository import ModelRepository
from trimtab_edge.telemetry.inference import InferenceCounts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest


def told(directory: Path, change: Callable[[], object], seconds: float = 30.0) -> bool:
    """Whether a change is told within so many seconds."""

    async def scenario() -> bool:
        listening = Notices()
        try:
            assert listening.watch([directory])
            assert not listening.watch([directory])
            assert listening.complete
            change()
            start = time.monotonic()
            await listening.wait(seconds)
            return time.monotonic() - start < seconds
        finally:
            listening.close()

    return asyncio.run(scenario())


def test_every_kind_of_change_is_told(tmp_path: Path) -> None:
    old = tmp_path / "old"
    assert told(tmp_path, lambda: old.write_text("1"))
    assert told(tmp_path, lambda: old.write_text("2"))
    assert told(tmp_path, lambda: old.rename(tmp_path / "new"))
    assert told(tmp_path, (tmp_path / "new").unlink)
    assert told(tmp_path, (tmp_path / "directory").mkdir)
    assert told(tmp_path, lambda: (tmp_path / "link").symlink_to("directory"))
    (tmp_path / "elsewhere").mkdir()
    assert told(tmp_path / "directory", lambda: (tmp_path / "directory").rename(tmp_path / "elsewhere" / "moved"))


def test_nothing_is_told_of_reading_or_of_what_is_not_watched(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("1")
    (tmp_path / "below").mkdir()
    assert not told(tmp_path, (tmp_path / "file").read_text, 0.2)
    assert not told(tmp_path, lambda: (tmp_path / "below" / "file").write_text("1"), 0.2)


def test_a_directory_that_took_anothers_place_is_watched_anew(tmp_path: Path) -> None:
    async def scenario() -> None:
        listening = Notices()
        try:
            one = tmp_path / "one"
            one.mkdir()
            listening.watch([one])
            one.rename(tmp_path / "two")
            one.mkdir()
            assert listening.watch([one])
            await listening.wait(0.05)
            (one / "file").write_text("1")
            start = time.monotonic()
            await listening.wait(30)
            assert time.monotonic() - start < 30
            assert not listening.watch([tmp_path / "none"])
            assert listening.complete
        finally:
            listening.close()

    asyncio.run(scenario())


def test_more_directories_than_may_be_watched_are_looked_at_by_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "MAX_WATCHES", 1)

    async def scenario() -> None:
        listening = Notices()
        assert not listening.watch([tmp_path, tmp_path.parent])
        assert not listening.complete
        listening.close()

    asyncio.run(scenario())


def test_a_repository_follows_its_changes_long_before_it_would_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that arrives, a version, the file within it, an order and its withdrawal: with looks an hour apart."""
    monkeypatch.setattr(repository, "REST", 3600.0)

    async def scenario() -> None:
        followed = ModelRepository(tmp_path, InferenceCounts(), poll=3600.0)
        watching = asyncio.create_task(followed.watch())

        async def answers(version: str) -> None:
            async with asyncio.timeout(60):
                while True:
                    slot = followed.slots.get("adder")
                    if slot is not None and slot.current is not None and slot.current.version == version:
                        return
                    await asyncio.sleep(0.01)

        place(tmp_path, "adder", "1.0.0", graphs.adder(0.5))
        await answers("1.0.0")
        (tmp_path / "adder" / "2.0.0").mkdir()
        await asyncio.sleep(0.1)
        place(tmp_path, "adder", "2.0.0", graphs.adder(1.5))
        await answers("2.0.0")
        activate(tmp_path, "adder", "1.0.0", None)
        await answers("1.0.0")
        (tmp_path / "adder" / "active.json").unlink()
        await answers("2.0.0")
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        followed.close()

    asyncio.run(scenario())
