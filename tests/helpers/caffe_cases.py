"""Small Caffe networks that OpenCV's Caffe runtime computes as well, one for each layer and option."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from caffe_networks import IMAGE, Case, Stored, layer, numbers


def _convolution(
    parameters: str, *blobs: Stored, kind: str = "Convolution", shape: tuple[int, ...] = IMAGE
) -> Case:
    return Case(layer(kind, convolution_param=parameters), {"data": shape}, {"y": blobs})


def _plain(kind: str, shape: tuple[int, ...] = IMAGE, **text: str) -> Case:
    return Case(layer(kind, **text), {"data": shape})


def _pool(parameters: str, shape: tuple[int, ...] = IMAGE) -> Case:
    return _plain("Pooling", shape, pooling_param=parameters)


def _two(kind: str, shape: tuple[int, ...] = IMAGE, other: tuple[int, ...] = IMAGE, **text: str) -> Case:
    return Case(layer(kind, bottom=("data", "other"), **text), {"data": shape, "other": other})


_READ = layer("ReLU", "ra", "a") + layer("TanH", "rb", "b")
_POSITIVE = np.abs(numbers((4,), 7)) + np.float32(0.1)
_FACTOR = np.array([999.9], np.float32)
_ORDER = "order: 0 order: 2 order: 3 order: 1"


def _head(name: str, bottom: str, sizes: str) -> str:
    """What an SSD computes of one map: locations and scores by pixel, and prior boxes."""
    prior = f"{sizes} aspect_ratio: 2 clip: false variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2"
    text = ""
    for part, outputs in (("loc", 16), ("conf", 12)):
        convolution = f"num_output: {outputs} kernel_size: 3 pad: 1"
        text += layer("Convolution", f"{name}_{part}", bottom, convolution_param=convolution)
        text += layer("Permute", f"{name}_{part}_perm", f"{name}_{part}", permute_param=_ORDER)
        text += layer("Flatten", f"{name}_{part}_flat", f"{name}_{part}_perm")
    return text + layer("PriorBox", f"{name}_prior", (f"{name}_loc", "image"), prior_box_param=prior)


_SCORES = (
    layer("Reshape", "conf_rows", "conf", reshape_param="shape { dim: 0 dim: -1 dim: 3 }")
    + layer("Softmax", "conf_soft", "conf_rows", softmax_param="axis: 2")
    + layer("Flatten", "conf_flat", "conf_soft")
)
_SSD = (
    _head("a", "data", "min_size: 8 max_size: 14")
    + layer("Pooling", "half", pooling_param="kernel_size: 2 stride: 2")
    + _head("b", "half", "min_size: 20 max_size: 30")
    + layer("Concat", "loc", ("a_loc_flat", "b_loc_flat"))
    + layer("Concat", "conf", ("a_conf_flat", "b_conf_flat"))
    + layer("Concat", "prior", ("a_prior", "b_prior"), concat_param="axis: 2")
    + _SCORES
)
_SSD_INPUTS = {"data": (1, 4, 5, 6), "image": (1, 3, 40, 48)}
_SSD_BLOBS: dict[str, Sequence[Stored]] = {
    f"{name}_{part}": ((outputs, 4, 3, 3), (outputs,))
    for name in ("a", "b")
    for part, outputs in (("loc", 16), ("conf", 12))
}


def detection_case(parameters: str) -> Case:
    """An SSD of two heads whose DetectionOutput has these parameters."""
    output = layer("DetectionOutput", "y", ("loc", "conf_flat", "prior"), detection_output_param=parameters)
    return Case(_SSD + output, _SSD_INPUTS, _SSD_BLOBS)


COMPARED: dict[str, Case] = {
    "convolution": _convolution("num_output: 5 kernel_size: 3", (5, 4, 3, 3), (5,)),
    "convolution without bias": _convolution("num_output: 5 kernel_size: 1 bias_term: false", (5, 4, 1, 1)),
    "convolution pad stride": _convolution(
        "num_output: 3 kernel_size: 3 pad: 1 stride: 2", (3, 4, 3, 3), (3,)
    ),
    "convolution by side": _convolution(
        "num_output: 3 kernel_h: 3 kernel_w: 2 pad_h: 1 pad_w: 0 stride_h: 1 stride_w: 2", (3, 4, 3, 2), (3,)
    ),
    "convolution per axis": _convolution(
        "num_output: 3 kernel_size: 3 kernel_size: 2 pad: 1 pad: 0 stride: 2 stride: 1", (3, 4, 3, 2), (3,)
    ),
    "convolution dilated": _convolution(
        "num_output: 3 kernel_size: 3 dilation: 2 pad: 2", (3, 4, 3, 3), (3,)
    ),
    "convolution grouped": _convolution("num_output: 6 kernel_size: 3 group: 2", (6, 2, 3, 3), (6,)),
    "convolution depthwise": _convolution("num_output: 4 kernel_size: 3 group: 4 pad: 1", (4, 1, 3, 3), (4,)),
    "convolution old blobs": _convolution("num_output: 5 kernel_size: 3", (5, 4, 3, 3), (1, 1, 1, 5)),
    "deconvolution": _convolution(
        "num_output: 3 kernel_size: 3 stride: 2 pad: 1", (4, 3, 3, 3), (3,), kind="Deconvolution"
    ),
    "deconvolution grouped": _convolution(
        "num_output: 4 kernel_size: 4 stride: 2 pad: 1 group: 4 bias_term: false",
        (4, 1, 4, 4),
        kind="Deconvolution",
    ),
    "inner product": Case(
        layer("InnerProduct", inner_product_param="num_output: 5"), blobs={"y": ((5, 168), (5,))}
    ),
    "inner product of a row": Case(
        layer("InnerProduct", inner_product_param="num_output: 5"), {"data": (3, 6)}, {"y": ((5, 6), (5,))}
    ),
    "inner product old blobs": Case(
        layer("InnerProduct", inner_product_param="num_output: 5"),
        blobs={"y": ((1, 1, 5, 168), (1, 1, 1, 5))},
    ),
    "inner product without bias": Case(
        layer("InnerProduct", inner_product_param="num_output: 5 bias_term: false"), blobs={"y": ((5, 168),)}
    ),
    "inner product along the last axis": Case(
        layer("InnerProduct", inner_product_param="num_output: 5 axis: 2"),
        {"data": (2, 3, 6)},
        {"y": ((5, 6), (5,))},
    ),
    "max pooling": _pool("pool: MAX kernel_size: 3 stride: 2"),
    "max pooling padded": _pool("pool: MAX kernel_size: 3 stride: 2 pad: 1"),
    "max pooling clipped": _pool("pool: MAX kernel_size: 2 stride: 2 pad: 1", (1, 2, 5, 4)),
    "max pooling by side": _pool("kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 1 pad_h: 1 pad_w: 0"),
    "max pooling overhang": _pool("pool: MAX kernel_size: 2 stride: 2"),
    "max pooling floor": _pool("pool: MAX kernel_size: 2 stride: 2 ceil_mode: false"),
    "max pooling of all": _pool("pool: MAX global_pooling: true"),
    "average pooling": _pool("pool: AVE kernel_size: 3 stride: 2", (2, 3, 7, 7)),
    "average pooling overhang": _pool("pool: AVE kernel_size: 3 stride: 2", (2, 3, 8, 6)),
    "average pooling padded": _pool("pool: AVE kernel_size: 3 stride: 1 pad: 1"),
    "average pooling padded overhang": _pool("pool: AVE kernel_size: 3 stride: 2 pad: 1", (2, 3, 8, 6)),
    "average pooling by side": _pool(
        "pool: AVE kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 3 pad_h: 1 pad_w: 1", (1, 2, 9, 8)
    ),
    "average pooling clipped": _pool("pool: AVE kernel_size: 2 stride: 2 pad: 1", (1, 2, 5, 4)),
    "average pooling of all": _pool("pool: AVE global_pooling: true"),
    "relu": _plain("ReLU"),
    "relu leaking": _plain("ReLU", relu_param="negative_slope: 0.1"),
    "relu6": Case(layer("Power", "big", power_param="scale: 9") + layer("ReLU6", bottom="big")),
    "prelu": Case(layer("PReLU"), blobs={"y": ((4,),)}),
    "prelu shared": Case(
        layer("PReLU", prelu_param="channel_shared: true"), blobs={"y": (np.array([0.3], np.float32),)}
    ),
    "elu": _plain("ELU", elu_param="alpha: 0.7"),
    "sigmoid": _plain("Sigmoid"),
    "tanh": _plain("TanH"),
    "absval": _plain("AbsVal"),
    "bnll": _plain("BNLL"),
    "swish": _plain("Swish"),
    "mish": _plain("Mish"),
    "power": _plain("Power", power_param="power: 3 scale: 0.5 shift: 1.5"),
    "power linear": _plain("Power", power_param="scale: -2 shift: 0.25"),
    "exp": _plain("Exp"),
    "exp of a base": _plain("Exp", exp_param="base: 2 scale: 0.5 shift: 1"),
    "log": Case(layer("Exp", "e") + layer("Log", bottom="e")),
    "softmax": _plain("Softmax"),
    "softmax along an axis": _plain("Softmax", softmax_param="axis: 3"),
    "softmax of a row": _plain("Softmax", (3, 6)),
    "batch norm": Case(layer("BatchNorm"), blobs={"y": ((4,), _POSITIVE, _FACTOR)}),
    "batch norm eps": Case(
        layer("BatchNorm", batch_norm_param="use_global_stats: true eps: 0.01"),
        blobs={"y": ((4,), _POSITIVE, _FACTOR)},
    ),
    "batch norm without statistics": Case(
        layer("BatchNorm", batch_norm_param="eps: 0.5"),
        blobs={"y": ((4,), _POSITIVE, np.zeros(1, np.float32))},
    ),
    "scale": Case(layer("Scale"), blobs={"y": ((4,),)}),
    "scale with bias": Case(layer("Scale", scale_param="bias_term: true"), blobs={"y": ((4,), (4,))}),
    "scale of the last axis": Case(
        layer("Scale", scale_param="axis: 3 bias_term: true"), blobs={"y": ((6,), (6,))}
    ),
    "scale of two axes": Case(layer("Scale", scale_param="axis: 2 num_axes: 2"), blobs={"y": ((7, 6),)}),
    "scale by a tensor": _two("Scale", IMAGE, (2, 4), scale_param="axis: 0"),
    "lrn across": _plain("LRN", (1, 9, 3, 4), lrn_param="local_size: 5 alpha: 0.5 beta: 0.75 k: 1"),
    "lrn within": _plain(
        "LRN", lrn_param="local_size: 3 alpha: 0.5 beta: 0.75 k: 1 norm_region: WITHIN_CHANNEL"
    ),
    "normalize": Case(
        layer("Normalize", norm_param="across_spatial: false channel_shared: false eps: 1e-10"),
        blobs={"y": ((4,),)},
    ),
    "normalize whole": Case(
        layer("Normalize", norm_param="across_spatial: true channel_shared: true eps: 1e-10"),
        {"data": (1, 4, 7, 6)},
        {"y": (np.array([20], np.float32),)},
    ),
    "mvn": _plain("MVN", mvn_param="eps: 1e-9"),
    "mvn across": _plain("MVN", mvn_param="across_channels: true eps: 1e-9"),
    "mvn mean": _plain("MVN", mvn_param="normalize_variance: false"),
    "eltwise sum": _two("Eltwise"),
    "eltwise coefficients": _two("Eltwise", eltwise_param="operation: SUM coeff: 0.5 coeff: -1"),
    "eltwise product": _two("Eltwise", eltwise_param="operation: PROD"),
    "eltwise maximum": _two("Eltwise", eltwise_param="operation: MAX"),
    "eltwise of three": Case(
        layer("Sigmoid", "s")
        + layer("Eltwise", bottom=("data", "s", "data"), eltwise_param="coeff: 1 coeff: 2 coeff: -0.5")
    ),
    "concat": _two("Concat", IMAGE, (2, 3, 7, 6)),
    "concat along an axis": _two("Concat", IMAGE, (2, 4, 2, 6), concat_param="axis: 2"),
    "slice": Case(layer("Slice", "s", top=("a", "b"), slice_param="axis: 1 slice_point: 1") + _READ),
    "slice evenly": Case(layer("Slice", "s", top=("a", "b"), slice_param="axis: 3") + _READ),
    "slice in three": Case(
        layer("Slice", "s", top=("a", "b", "c"), slice_param="slice_point: 1 slice_point: 3")
        + _READ
        + layer("AbsVal", "rc", "c")
    ),
    "split": Case(layer("Split", "s", top=("a", "b")) + _READ),
    "reshape": _plain("Reshape", reshape_param="shape { dim: 0 dim: 2 dim: -1 dim: 0 }"),
    "reshape from an axis": _plain("Reshape", reshape_param="shape { dim: -1 } axis: 1"),
    "reshape some axes": _plain("Reshape", reshape_param="shape { dim: 2 dim: 2 } axis: 1 num_axes: 1"),
    "flatten": _plain("Flatten"),
    "flatten some axes": _plain("Flatten", flatten_param="axis: 1 end_axis: 2"),
    "permute": _plain("Permute", permute_param="order: 0 order: 2 order: 3 order: 1"),
    "crop": _two("Crop", IMAGE, (2, 4, 4, 5), crop_param="offset: 1"),
    "crop by axis": _two("Crop", IMAGE, (2, 2, 4, 5), crop_param="axis: 1 offset: 1 offset: 2 offset: 0"),
    "shuffle channel": _plain("ShuffleChannel", shuffle_channel_param="group: 2"),
    "interp to a size": _plain("Interp", interp_param="height: 9 width: 13"),
    "interp smaller": _plain("Interp", interp_param="height: 3 width: 4"),
    "interp zoom": _plain("Interp", interp_param="zoom_factor: 2"),
    "dropout": Case(layer("Dropout", "d") + layer("ReLU", bottom="d")),
    "in place": Case(
        layer("Convolution", "c", convolution_param="num_output: 3 kernel_size: 3")
        + layer("BatchNorm", "bn", "c", "c")
        + layer("Scale", "sc", "c", "c", scale_param="bias_term: true")
        + layer("ReLU", "r", "c", "c")
        + layer("Dropout", "d", "c", "c")
        + layer("Pooling", "p", "c", pooling_param="kernel_size: 2 stride: 2"),
        blobs={"c": ((3, 4, 3, 3), (3,)), "bn": ((3,), _POSITIVE[:3], _FACTOR), "sc": ((3,), (3,))},
    ),
    "prior box": Case(_SSD, _SSD_INPUTS, _SSD_BLOBS),
    "prior box options": Case(
        layer(
            "PriorBox",
            "y",
            ("data", "image"),
            prior_box_param="min_size: 8 min_size: 20 max_size: 14 max_size: 30 "
            "aspect_ratio: 2 aspect_ratio: 3 "
            "flip: false clip: true variance: 0.2 step: 7 offset: 0.25",
        ),
        _SSD_INPUTS,
    ),
    "detection output": detection_case(
        "num_classes: 3 share_location: true background_label_id: 0 "
        "nms_param { nms_threshold: 0.45 top_k: 40 } "
        "code_type: CENTER_SIZE keep_top_k: 20 confidence_threshold: 0.3"
    ),
    "detection output corner": detection_case(
        "num_classes: 3 share_location: true background_label_id: 0 nms_param { nms_threshold: 0.3 } "
        "code_type: CORNER keep_top_k: 30 confidence_threshold: 0.4"
    ),
}
"""Networks whose outputs OpenCV's Caffe runtime gives as well."""
