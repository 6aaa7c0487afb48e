"""ONNX in, ONNX out: loading, folding, placing quantizers, cutting."""
