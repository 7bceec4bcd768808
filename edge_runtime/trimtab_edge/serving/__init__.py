"""The model server: a protocol-neutral core (dataplane), transports around it, onnxruntime under it."""

import os

# The official onnxruntime builds for Linux (1.29 and later) report model names, hashes and errors to their maker unless
# this is set before the library is loaded. Nothing leaves a device but what its fleet was told, so it is set here, before
# any module of this package can import onnxruntime, and not left to whoever starts the process.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
