"""KServe's Python server with a custom model, as its documentation has users write one: ``kserve_server.py PORT``."""

from __future__ import annotations

import logging
import sys
from typing import Any

import kserve
import kserve.model_server
from kserve.protocol.rest.server import RESTServer
from peer_session import NAME, TYPES, open_session


class Loopback(RESTServer):  # type: ignore[misc] # its base has no types
    """KServe listens on every address and writes lines for each request, without an option for either; a bench does not."""

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - passed through
        super().__init__(*arguments, **options)
        self.config.host = "127.0.0.1"
        # Three lines for each request otherwise.
        logging.getLogger("kserve.trace").setLevel(logging.WARNING)
        access = logging.getLogger("uvicorn.access")
        access.handlers, access.propagate = [], False


class OnnxModel(kserve.Model):  # type: ignore[misc] # its base has no types
    """One session."""

    def load(self) -> bool:
        """Open it."""
        self.session = open_session()
        self.names = [output.name for output in self.session.get_outputs()]
        self.ready = True
        return True

    def predict(
        self,
        payload: kserve.InferRequest,
        headers: dict[str, str] | None = None,
        response_headers: dict[str, str] | None = None,
    ) -> kserve.InferResponse:
        """Run it; answers in JSON."""
        x = payload.inputs[0].as_numpy()
        outputs = []
        for name, y in zip(self.names, self.session.run(self.names, {"x": x}), strict=True):
            output = kserve.InferOutput(name, list(y.shape), TYPES[str(y.dtype)])
            output.set_data_from_numpy(y, binary_data=False)
            outputs.append(output)
        return kserve.InferResponse(payload.id or NAME, self.name, outputs)


if __name__ == "__main__":
    kserve.model_server.RESTServer = Loopback
    model = OnnxModel(NAME)
    model.load()
    kserve.ModelServer(http_port=int(sys.argv[1]), enable_grpc=False, enable_latency_logging=False).start([model])
