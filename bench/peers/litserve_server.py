"""LitServe around the session: ``litserve_server.py PORT``. It knows no V2, so the body of V2 goes to a route of its own."""

from __future__ import annotations

import sys
from typing import Any

import litserve
from peer_session import NAME, answer, open_session


class OnnxApi(litserve.LitAPI):  # type: ignore[misc] # its base has no types
    """One session in one worker."""

    def setup(self, device: str) -> None:
        """Open it."""
        self.session = open_session()

    def decode_request(self, request):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201 - LitServe acts on annotations
        """The V2 inputs."""
        inputs: list[dict[str, Any]] = request["inputs"]
        return inputs

    def predict(self, x: list[dict[str, Any]]) -> dict[str, Any]:
        """Run it."""
        found: dict[str, Any] = answer(self.session, x)
        return found

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """It is one already."""
        return output


if __name__ == "__main__":
    server = litserve.LitServer(OnnxApi(api_path=f"/v2/models/{NAME}/infer"), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", generate_client_file=False)
