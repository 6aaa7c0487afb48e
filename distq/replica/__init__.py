"""ONNX Runtime sessions that observe and score, and the units that use them."""
