"""A site for each test: a bot over a real repository with the example fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.bot.rig import Site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()
