"""Small Caffe networks, one for each layer and option, with weights that are the same everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distq.exchange.caffe.schema import new_message

Array = NDArray[np.float32]
Stored = tuple[int, ...] | Array
"""A blob's shape, or its values."""

IMAGE = (2, 4, 7, 6)


@dataclass(frozen=True)
class Case:
    """A network without its inputs' declaration, its input shapes and its blobs by layer."""

    layers: str
    inputs: dict[str, tuple[int, ...]] = field(default_factory=lambda: {"data": IMAGE})
    blobs: dict[str, Sequence[Stored]] = field(default_factory=dict)

    def prototxt(self) -> str:
        """The whole file."""
        declared = "".join(
            f'input: "{name}"\ninput_shape {{ {" ".join(f"dim: {size}" for size in shape)} }}\n'
            for name, shape in self.inputs.items()
        )
        return f'name: "case"\n{declared}{self.layers}'

    def feeds(self) -> dict[str, Array]:
        """Values of the inputs, between -1 and 1."""
        return {
            name: numbers(shape, 1 + position) for position, (name, shape) in enumerate(self.inputs.items())
        }

    def save(self, folder: Path, name: str = "net") -> Path:
        """Write both files; returns the prototxt's path."""
        path = folder / f"{name}.prototxt"
        path.write_text(self.prototxt())
        path.with_suffix(".caffemodel").write_bytes(caffemodel(self.blobs))
        return path


def numbers(shape: Sequence[int], seed: int) -> Array:
    """Numbers between -1 and 1 that look random and are the same on every machine (splitmix64)."""
    with np.errstate(over="ignore"):
        state = np.arange(prod(shape), dtype=np.uint64) + np.uint64(seed * 1000003)
        state *= np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            state = (state ^ (state >> np.uint64(shift))) * np.uint64(factor)
        state ^= state >> np.uint64(31)
    unit = (state >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)
    return (2 * unit - 1).reshape(tuple(shape))


def caffemodel(blobs: dict[str, Sequence[Stored]]) -> bytes:
    """The binary file that holds these weights."""
    net = new_message("WeightsNet")
    net.layer.add(name="data")
    for position, (layer, stored) in enumerate(blobs.items()):
        message = net.layer.add(name=layer)
        for index, given in enumerate(stored):
            values = numbers(given, 100 + 10 * position + index) if isinstance(given, tuple) else given
            blob = message.blobs.add(data=values.ravel().tolist())
            blob.shape.dim.extend(values.shape)
    return bytes(net.SerializeToString())


def layer(
    kind: str,
    name: str = "y",
    bottom: str | Sequence[str] = "data",
    top: str | Sequence[str] = "",
    **text: str,
) -> str:
    """One layer as text; ``text`` are its parameter messages."""
    bottoms = [bottom] if isinstance(bottom, str) else bottom
    tops = [top or name] if isinstance(top, str) else top
    lines = [
        f'name: "{name}" type: "{kind}"',
        *(f'bottom: "{b}"' for b in bottoms),
        *(f'top: "{t}"' for t in tops),
    ]
    return (
        f"layer {{ {' '.join(lines)} {' '.join(f'{key} {{ {value} }}' for key, value in text.items())} }}\n"
    )


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
_SSD = "".join(
    (
        layer("Convolution", "loc", convolution_param="num_output: 16 kernel_size: 3 pad: 1"),
        layer("Permute", "loc_perm", "loc", permute_param="order: 0 order: 2 order: 3 order: 1"),
        layer("Flatten", "loc_flat", "loc_perm"),
        layer("Convolution", "conf", convolution_param="num_output: 12 kernel_size: 3 pad: 1"),
        layer("Permute", "conf_perm", "conf", permute_param="order: 0 order: 2 order: 3 order: 1"),
        layer("Reshape", "conf_rows", "conf_perm", reshape_param="shape { dim: 0 dim: -1 dim: 3 }"),
        layer("Softmax", "conf_soft", "conf_rows", softmax_param="axis: 2"),
        layer("Flatten", "conf_flat", "conf_soft"),
        layer(
            "PriorBox",
            "prior",
            ("loc", "image"),
            prior_box_param="min_size: 8 max_size: 14 aspect_ratio: 2 flip: true clip: false "
            "variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2",
        ),
    )
)
_SSD_INPUTS = {"data": (1, 4, 5, 6), "image": (1, 3, 40, 48)}
_SSD_BLOBS: dict[str, Sequence[Stored]] = {
    "loc": ((16, 4, 3, 3), (16,)),
    "conf": ((12, 4, 3, 3), (12,)),
}


def _detect(parameters: str) -> Case:
    output = layer(
        "DetectionOutput", "y", ("loc_flat", "conf_flat", "prior"), detection_output_param=parameters
    )
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
    "detection output": _detect(
        "num_classes: 3 share_location: true background_label_id: 0 "
        "nms_param { nms_threshold: 0.45 top_k: 40 } "
        "code_type: CENTER_SIZE keep_top_k: 20 confidence_threshold: 0.3"
    ),
    "detection output corner": _detect(
        "num_classes: 3 share_location: true background_label_id: 0 nms_param { nms_threshold: 0.3 } "
        "code_type: CORNER keep_top_k: 30 confidence_threshold: 0.4"
    ),
}
"""Networks whose outputs OpenCV's Caffe runtime gives as well."""
