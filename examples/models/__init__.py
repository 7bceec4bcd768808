"""The example models: real rows, committed builders, ONNX files. See README.md."""
