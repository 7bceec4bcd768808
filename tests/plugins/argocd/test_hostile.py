"""Every hostile repository is refused with its own code, soon after its last byte, in bounded memory."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.cases.hostile.corpus import CORPUS, Hostile, Messages
from tests.plugins.argocd.wire import Server, fleet_files, request, serving, tgz

MOST_MEMORY = 300 * 1024 * 1024
MOST_SECONDS = 2.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("plugins")) as running:
        yield running


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.name)
def test_a_hostile_repository_is_refused(server: Server, case: Hostile) -> None:
    last = 0.0

    def sent(messages: Messages) -> Iterator[object]:
        nonlocal last
        yield from messages
        last = time.monotonic()

    with server.caller() as caller:
        _, text = caller.refusal(sent(case.messages()), timeout=110)  # type: ignore[arg-type] # messages, some of which are none
        took = time.monotonic() - last
        assert case.code in text
        assert len(text.encode()) <= 1024
        assert took <= MOST_SECONDS
        assert server.peak_rss() <= MOST_MEMORY
        # And the server is none the worse for it.
        assert len(caller.generate(request(tgz(fleet_files()), chunk=1024))) > 1


def test_the_corpus_is_as_large_as_promised() -> None:
    assert len(CORPUS) >= 40
    assert len({case.name for case in CORPUS}) == len(CORPUS)
