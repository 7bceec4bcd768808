"""MLServer's custom runtime for an ONNX file, as its documentation has users write one; it ships none for ONNX."""

from __future__ import annotations

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from peer_session import open_session


class OnnxRuntime(MLModel):  # type: ignore[misc] # its base has no types
    """One session per process."""

    async def load(self) -> bool:
        """Open the session."""
        self.session = open_session()
        self.names = [output.name for output in self.session.get_outputs()]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Run it."""
        x = NumpyCodec.decode_input(payload.inputs[0])
        found = zip(self.names, self.session.run(self.names, {"x": x}), strict=True)
        outputs = [NumpyCodec.encode_output(name, y) for name, y in found]
        return InferenceResponse(model_name=self.name, outputs=outputs)
