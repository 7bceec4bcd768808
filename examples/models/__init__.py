"""The example models: real rows, committed builders, ONNX files. See README.md."""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # onnxruntime would report the models that are measured to its maker
