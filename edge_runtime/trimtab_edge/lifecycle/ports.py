"""What the agent needs of the world, as it calls it. Adapters in this room and in ``artifacts`` implement these."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trimtab_edge.lifecycle.machine import Event
    from trimtab_edge.lifecycle.release import Release


class InterruptedCommand(Exception):  # noqa: N818 - no error: something newer is wanted, or the agent is to end
    """A long command was given up because ``keep_going`` said so. What it has done so far is kept."""


class Artifacts(Protocol):
    """Where bytes come from."""

    def fetch(
        self, release: Release, target: Path, received: Callable[[int], None], keep_going: Callable[[], bool]
    ) -> None:
        """Put the verified bytes of ``release`` at ``target``, durably; ``received`` gets each count of bytes.

        Raises TrustError (the bytes are wrong), OutsideError (try later) and :class:`InterruptedCommand`.
        """


class Probe(Protocol):
    """Asks the server whether it answers with a release."""

    def observe(self, model: str, release: Release, at: Callable[[], float], keep_going: Callable[[], bool]) -> Event:
        """Passed, Failed or Undecided. Raises :class:`InterruptedCommand`."""
