"""Layers of Caffe as operators of ONNX, one file a family."""
