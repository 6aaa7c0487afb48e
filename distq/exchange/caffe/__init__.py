"""Caffe networks in: a text prototxt and its binary caffemodel become an ONNX model."""
