"""The messages of Bitmain's and CVITEK's calibration table: proto2, common_calibration.proto of bmnet."""

from __future__ import annotations

from distq.exchange.messages import Fields, message_classes

_SHIFTS: Fields = {
    "gt_scale": (1, "required int32"),
    "le_scale": (2, "required int32"),
    "gt_right_shift_width": (3, "required int32"),
    "le_right_shift_width": (4, "required int32"),
}
_MESSAGES: dict[str, Fields] = {
    "NetCalibrationParameter": {"name": (1, "string"), "layer": (100, "repeated LayerCalibrationParameter")},
    "LayerCalibrationParameter": {
        "name": (1, "required string"),
        "threshold_y": (2, "repeated float"),
        "right_shift_width": (3, "int32"),
        "threshold_x_quantized": (4, "repeated int32"),
        "blob_param": (5, "repeated BlobParameter"),
        "fusion_skipped": (6, "int32"),
        "bottom_unsigned": (7, "repeated bool"),
        "top_unsigned": (8, "repeated bool"),
        "convolution_param": (106, "ConvolutionCalibrationParameter"),
        "inner_product_param": (117, "InnerProductCalibrationParameter"),
        "pooling_param": (121, "PoolingCalibrationParameter"),
        "relu_param": (123, "ReLUCalibrationParameter"),
        "prelu_param": (124, "PReLUCalibrationParameter"),
        "concat_param": (125, "ConcatCalibrationParameter"),
        "leakyrelu_param": (126, "LeakyReLUCalibrationParameter"),
    },
    "BlobParameter": {
        "name": (1, "string"),
        "threshold_y": (2, "required float"),
        "right_shift_width": (3, "int32"),
    },
    "ConvolutionCalibrationParameter": {
        "bn_right_shift_width": (1, "int32"),
        "scale_right_shift_width": (2, "int32"),
        "prelu_param": (3, "PReLUCalibrationParameter"),
        "relu_param": (4, "ReLUCalibrationParameter"),
    },
    "InnerProductCalibrationParameter": {"prelu_param": (3, "PReLUCalibrationParameter")},
    "PoolingCalibrationParameter": {},
    "ReLUCalibrationParameter": _SHIFTS,
    "PReLUCalibrationParameter": {
        "gt_scale": (1, "required int32"),
        "gt_right_shift_width": (2, "required int32"),
        "le_right_shift_width": (3, "required int32"),
    },
    "ConcatCalibrationParameter": {
        "right_shift_width": (1, "repeated int32"),
        "threshold_x_quantized": (2, "repeated int32"),
        "need_quantize_num": (3, "int32"),
    },
    "LeakyReLUCalibrationParameter": _SHIFTS,
}

CLASSES = message_classes("distq_bitmain_calibration", _MESSAGES)
"""Message classes by name."""
