"""Runs the outputs beside the bot's loop."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from trimtab_bot.leading.fencing import FencedStore
from trimtab_bot.moments import moment_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trimtab_bot.configuration import OutputsSettings
    from trimtab_bot.leading.interface import Leadership
    from trimtab_bot.moments import Clock
    from trimtab_bot.recording import Followers
    from trimtab_bot.store.interface import Store

STEP_SECONDS = 5.0


@contextmanager
def running_outputs(
    settings: OutputsSettings, store: Store, leadership: Leadership, followers: Followers, clock: Clock
) -> Iterator[None]:
    """The outputs, as long as the block lasts; only the replica that leads tells anybody. Raises InputError (B110)."""
    from trimtab_bot.assembly import secret
    from trimtab_bot.outputs.delivery import Outputs, Receivers, run

    def tell(text: str) -> None:
        followers.tell(moment_text(clock()), {"event": "outputs", "text": text})

    receivers = Receivers(
        pagerduty=settings.pagerduty_url if settings.routing_key_file is not None else "",
        routing_key="" if settings.routing_key_file is None else secret(settings.routing_key_file),
        alertmanager=settings.alertmanager_url.rstrip("/"),
    )
    outputs, stop = Outputs(FencedStore(store, leadership), receivers, clock), threading.Event()

    def leads() -> bool:
        return leadership.epoch() is not None

    thread = threading.Thread(
        target=run, args=(outputs, stop, STEP_SECONDS, tell, leads), name="trimtab-outputs", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)
        outputs.close()
