"""The model server: a protocol-neutral core (dataplane), transports around it, onnxruntime under it."""
