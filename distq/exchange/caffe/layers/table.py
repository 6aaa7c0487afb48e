"""Which function converts a layer of which type."""

from __future__ import annotations

from distq.exchange.caffe.layers import (
    activation,
    arithmetic,
    convolution,
    detection_output,
    normalization,
    pooling,
    prior_box,
    reduction,
    resize,
    shapes,
)
from distq.exchange.caffe.layers.activation import Convert, elementwise
from distq.exchange.caffe.network import SCALED_DROPOUT

CONVERTERS: dict[str, Convert] = {
    "AbsVal": elementwise("Abs"),
    "ArgMax": reduction.argmax,
    "Axpy": arithmetic.axpy,
    "BN": normalization.bn,
    "BNLL": elementwise("Softplus"),
    "BatchNorm": normalization.batch_norm,
    "Bias": arithmetic.bias,
    "Clip": activation.clip,
    "Concat": shapes.concat,
    "Convolution": convolution.convolution,
    "ConvolutionDepthwise": convolution.depthwise_convolution,
    "Crop": shapes.crop,
    "Deconvolution": convolution.deconvolution,
    "DepthwiseConvolution": convolution.depthwise_convolution,
    "DetectionOutput": detection_output.detection_output,
    "ELU": activation.elu,
    "Eltwise": arithmetic.eltwise,
    "Exp": activation.exp,
    "Flatten": shapes.flatten,
    "InnerProduct": convolution.inner_product,
    "Interp": resize.interp,
    "LRN": normalization.lrn,
    "Log": activation.log,
    "MVN": normalization.mvn,
    "Mish": activation.mish,
    "Normalize": normalization.normalize,
    "PReLU": activation.prelu,
    "Permute": shapes.permute,
    "Pooling": pooling.pooling,
    "Power": activation.power,
    "PriorBox": prior_box.prior_box,
    "ReLU": activation.relu,
    "ReLU6": activation.relu6,
    SCALED_DROPOUT: activation.scaled_dropout,
    "Reduction": reduction.reduction,
    "Reorg": shapes.reorg,
    "Reshape": shapes.reshape,
    "Scale": arithmetic.scale,
    "ShuffleChannel": shapes.shuffle_channel,
    "Sigmoid": elementwise("Sigmoid"),
    "Slice": shapes.cut,
    "Softmax": activation.softmax,
    "Swish": activation.swish,
    "TanH": elementwise("Tanh"),
    "Threshold": activation.threshold,
    "Tile": shapes.tile,
    "Upsample": resize.upsample,
}

WEIGHTED = frozenset(
    {"BN", "BatchNorm", "Convolution", "ConvolutionDepthwise", "Deconvolution", "DepthwiseConvolution"}
    | {"InnerProduct", "Normalize", "PReLU"}
)
"""Types of layers that cannot be without weights."""
