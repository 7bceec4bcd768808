"""BentoML around the session. It knows no V2, so the body of V2 goes to a route of its own."""

from __future__ import annotations

from typing import Any

import bentoml
from peer_session import NAME, answer, open_session


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class OnnxService:
    """One session."""

    def __init__(self) -> None:
        self.session = open_session()

    @bentoml.api(route=f"/v2/models/{NAME}/infer")  # type: ignore[untyped-decorator] # it has no types
    def infer(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Run it."""
        found: dict[str, Any] = answer(self.session, inputs)
        return found
