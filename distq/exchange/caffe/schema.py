"""Caffe's protobuf messages, as descriptors of our own.

No published package with Caffe's generated classes loads with the protobuf that onnx needs, so the messages
are described here. Fields of a prototxt are found by name, and forks of Caffe number theirs differently: only
what is read from binary files has Caffe's numbers. An enumeration is a string, so a fork's values are kept.

Names, defaults and numbers: BVLC Caffe, caffe.proto; the SSD fork; the Sophgo fork's transform_op and
quantization fields.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2  # type: ignore[import-untyped]  # protobuf ships no types

from distq.exchange.messages import Fields, Message, classes_of, message_classes

__all__ = ["Message", "enumeration", "new_message"]

_PACKAGE = "distq.caffe"

_WEIGHTS: dict[str, Fields] = {
    "BlobShape": {"dim": (1, "repeated int64")},
    "WeightsLayer": {"name": (1, "bytes"), "blobs": (7, "repeated WeightsBlob")},
    "WeightsLayerV1": {
        "name": (4, "bytes"),
        "blobs": (6, "repeated WeightsBlob"),
        "layer": (1, "WeightsLayerV0"),
    },
    "WeightsLayerV0": {"name": (1, "bytes"), "blobs": (50, "repeated WeightsBlob")},
    "WeightsBlob": {
        "num": (1, "int64"),
        "channels": (2, "int64"),
        "height": (3, "int64"),
        "width": (4, "int64"),
        "data": (5, "repeated bytes"),
        "shape": (7, "BlobShape"),
        "double_data": (8, "repeated bytes"),
        "raw_data_type": (10, "int64"),
        "raw_data": (12, "bytes"),
    },
    "WeightsNet": {"layers": (2, "repeated WeightsLayerV1"), "layer": (100, "repeated WeightsLayer")},
}
"""Messages of a caffemodel, of which WeightsNet has what is read alone.

Its packed numbers are declared as bytes, which they are in the file: a hundred million floats are then no
list of Python's.
"""

_KERNEL = "pad:i* kernel_size:i* stride:i* pad_h:i pad_w:i kernel_h:i kernel_w:i stride_h:i stride_w:i "
_AXES = "axis:i=1 num_axes:i=1 "
_OLD_TRANSFORM = "scale:f=1 mean_file:s crop_size:i mirror:b "

TEXT = {
    "NetParameter": (
        "name:s input:s* input_shape:BlobShape* input_dim:i* force_backward:b state:NetState debug_info:b "
        "layer:LayerParameter* layers:V1LayerParameter*"
    ),
    "BlobShape": "dim:i*",
    "NetState": "phase:TRAIN|TEST=TEST level:i stage:s*",
    "NetStateRule": "phase:TRAIN|TEST min_level:i max_level:i stage:s* not_stage:s*",
    "FillerParameter": (
        "type:s=constant value:f min:f max:f=1 mean:f std:f=1 sparse:i=-1 "
        "variance_norm:FAN_IN|FAN_OUT|AVERAGE"
    ),
    "ParamSpec": "name:s share_mode:STRICT|PERMISSIVE lr_mult:f=1 decay_mult:f=1",
    "LossParameter": "ignore_label:i normalization:FULL|VALID|BATCH_SIZE|NONE=VALID normalize:b",
    "TransformationParameter": (
        "scale:f=1 mirror:b crop_size:i crop_h:i crop_w:i crop_fraction:f mean_file:s mean_value:f* "
        "force_color:b "
        "force_gray:b resize_param:ResizeParameter noise_param:NoiseParameter distort_param:DistortParameter "
        "expand_param:ExpandParameter emit_constraint:EmitConstraint transform_op:TransformOp* "
        "resize:i* standardization:b"
    ),
    "TransformOp": (
        "op:RESIZE|CROP|STAND|NONE=NONE resize_side:i resize_h:i resize_w:i crop_fraction:f crop_h:i "
        "crop_w:i "
        "padding:f mean_value:f* mean_file:s scale:f=1 div:f=1 bgr2rgb:b"
    ),
    "ResizeParameter": (
        "prob:f=1 resize_mode:|WARP|FIT_SMALL_SIZE|FIT_LARGE_SIZE_AND_PAD height:i width:i height_scale:i "
        "width_scale:i pad_mode:|CONSTANT|MIRRORED|REPEAT_NEAREST pad_value:f* "
        "interp_mode:|LINEAR|AREA|NEAREST|CUBIC|LANCZOS4*"
    ),
    "NoiseParameter": (
        "prob:f hist_eq:b inverse:b decolorize:b gauss_blur:b jpeg:f=-1 posterize:b erode:b saltpepper:b "
        "clahe:b "
        "convert_to_hsv:b convert_to_lab:b"
    ),
    "DistortParameter": (
        "brightness_prob:f brightness_delta:f contrast_prob:f contrast_lower:f contrast_upper:f hue_prob:f "
        "hue_delta:f saturation_prob:f saturation_lower:f saturation_upper:f random_order_prob:f"
    ),
    "ExpandParameter": "prob:f=1 max_expand_ratio:f=1",
    "EmitConstraint": "emit_type:CENTER|MIN_OVERLAP emit_overlap:f",
    "AnnotatedDataParameter": "label_map_file:s anno_type:NONE|BBOX batch_sampler:BatchSampler*",
    "BatchSampler": (
        "use_original_image:b=true sampler:Sampler sample_constraint:SampleConstraint max_sample:i "
        "max_trials:i=100"
    ),
    "Sampler": "min_scale:f=1 max_scale:f=1 min_aspect_ratio:f=1 max_aspect_ratio:f=1",
    "SampleConstraint": (
        "min_jaccard_overlap:f max_jaccard_overlap:f min_sample_coverage:f max_sample_coverage:f "
        "min_object_coverage:f max_object_coverage:f"
    ),
    "LabelMap": "item:LabelMapItem*",
    "LabelMapItem": "name:s label:i display_name:s",
    "ArgMaxParameter": "out_max_val:b top_k:i=1 axis:i",
    "BatchNormParameter": "use_global_stats:b moving_average_fraction:f=0.999 eps:f=1e-5 scale_bias:b",
    "BiasParameter": _AXES + "filler:FillerParameter",
    "BNParameter": (
        "slope_filler:FillerParameter bias_filler:FillerParameter "
        "scale_filler:FillerParameter shift_filler:FillerParameter momentum:f=0.9 eps:f=1e-5 frozen:b "
        "bn_mode:LEARN|INFERENCE var_eps:f=1e-10"
    ),
    "ClipParameter": "min:f max:f",
    "ConcatParameter": "axis:i=1 concat_dim:i=1",
    "ConvolutionParameter": (
        "num_output:i bias_term:b=true dilation:i* group:i=1 weight_filler:FillerParameter "
        "bias_filler:FillerParameter engine:s axis:i=1 force_nd_im2col:b " + _KERNEL
    ),
    "CropParameter": "axis:i=2 offset:i*",
    "DataParameter": (
        "source:s batch_size:i rand_skip:i backend:LEVELDB|LMDB force_encoded_color:b prefetch:i=4 "
        + _OLD_TRANSFORM
    ),
    "DetectionOutputParameter": (
        "num_classes:i share_location:b=true background_label_id:i nms_param:NonMaximumSuppressionParameter "
        "save_output_param:SaveOutputParameter code_type:|CORNER|CENTER_SIZE|CORNER_SIZE "
        "variance_encoded_in_target:b keep_top_k:i=-1 confidence_threshold:f visualize:b "
        "visualize_threshold:f "
        "save_file:s objectness_score:f=0.01"
    ),
    "NonMaximumSuppressionParameter": "nms_threshold:f=0.3 top_k:i eta:f=1",
    "SaveOutputParameter": (
        "output_directory:s output_name_prefix:s output_format:s label_map_file:s name_size_file:s "
        "resize_param:ResizeParameter "
        "num_test_image:i"
    ),
    "DropoutParameter": "dropout_ratio:f=0.5 scale_train:b=true",
    "DummyDataParameter": (
        "data_filler:FillerParameter* shape:BlobShape* num:i* channels:i* height:i* width:i*"
    ),
    "EltwiseParameter": "operation:PROD|SUM|MAX=SUM coeff:f* stable_prod_grad:b=true",
    "ELUParameter": "alpha:f=1",
    "ExpParameter": "base:f=-1 scale:f=1 shift:f",
    "FlattenParameter": "axis:i=1 end_axis:i=-1",
    "ImageDataParameter": (
        "source:s batch_size:i=1 rand_skip:i shuffle:b new_height:i new_width:i is_color:b=true "
        "root_folder:s " + _OLD_TRANSFORM
    ),
    "InnerProductParameter": (
        "num_output:i bias_term:b=true weight_filler:FillerParameter bias_filler:FillerParameter axis:i=1 "
        "transpose:b"
    ),
    "InputParameter": "shape:BlobShape*",
    "InterpParameter": "height:i width:i zoom_factor:i=1 shrink_factor:i=1 pad_beg:i pad_end:i",
    "LogParameter": "base:f=-1 scale:f=1 shift:f",
    "LRNParameter": (
        "local_size:i=5 alpha:f=1 beta:f=0.75 norm_region:ACROSS_CHANNELS|WITHIN_CHANNEL k:f=1 engine:s"
    ),
    "MemoryDataParameter": "batch_size:i channels:i height:i width:i",
    "MVNParameter": "normalize_variance:b=true across_channels:b eps:f=1e-9",
    "NormalizeParameter": (
        "across_spatial:b=true scale_filler:FillerParameter channel_shared:b=true eps:f=1e-10"
    ),
    "PermuteParameter": "order:i*",
    "PoolingParameter": (
        "pool:MAX|AVE|STOCHASTIC engine:s global_pooling:b round_mode:CEIL|FLOOR ceil_mode:b=true "
        "dilation:i* " + _KERNEL
    ),
    "PowerParameter": "power:f=1 scale:f=1 shift:f",
    "PReLUParameter": "filler:FillerParameter channel_shared:b",
    "PriorBoxParameter": (
        "min_size:f* max_size:f* aspect_ratio:f* flip:b=true clip:b variance:f* "
        "use_default_aspect_ratio:b=true img_size:i img_h:i img_w:i "
        "step:f step_h:f step_w:f offset:f=0.5"
    ),
    "PythonParameter": "module:s layer:s param_str:s share_in_parallel:b",
    "ReductionParameter": "operation:|SUM|ASUM|SUMSQ|MEAN axis:i coeff:f=1",
    "ReLUParameter": "negative_slope:f engine:s",
    "ReorgParameter": "stride:i reverse:b",
    "ReshapeParameter": "shape:BlobShape axis:i num_axes:i=-1",
    "ScaleParameter": _AXES + "filler:FillerParameter bias_term:b bias_filler:FillerParameter",
    "ShuffleChannelParameter": "group:i=1",
    "SliceParameter": "axis:i=1 slice_point:i* slice_dim:i=1",
    "SoftmaxParameter": "engine:s axis:i=1",
    "SwishParameter": "beta:f=1",
    "ThresholdParameter": "threshold:f",
    "TileParameter": "axis:i=1 tiles:i",
    "UpsampleParameter": "scale:i=2 scale_h:i scale_w:i pad_out_h:b pad_out_w:b upsample_h:i upsample_w:i",
}
"""Messages of a prototxt: ``name:type=default``; ``*`` is a repeated field, ``A|B`` an enumeration from 0."""

_LAYER = (
    "name:s type:s bottom:s* top:s* engine:s phase:TRAIN|TEST loss_weight:f* param:ParamSpec* "
    "propagate_down:b* "
    "include:NetStateRule* exclude:NetStateRule* blobs_lr:f* weight_decay:f* "
    "th_strategy:USE_DEFAULT|USE_KL|USE_MAX th_scale:f=1 threshold:f* forward_with_float:b "
    "transform_param:TransformationParameter loss_param:LossParameter reshape_dims:i* "
)

_PARAMETERS = {
    "AnnotatedDataParameter": "annotated_data_param",
    "ArgMaxParameter": "argmax_param",
    "BatchNormParameter": "batch_norm_param",
    "BNParameter": "bn_param",
    "ELUParameter": "elu_param",
    "InnerProductParameter": "inner_product_param",
    "LRNParameter": "lrn_param",
    "MVNParameter": "mvn_param",
    "NormalizeParameter": "norm_param",
    "PReLUParameter": "prelu_param",
    "ReLUParameter": "relu_param",
    "DetectionOutputParameter": "detection_output_param",
    "DummyDataParameter": "dummy_data_param",
    "ImageDataParameter": "image_data_param",
    "MemoryDataParameter": "memory_data_param",
    "PriorBoxParameter": "prior_box_param",
    "ShuffleChannelParameter": "shuffle_channel_param",
}
"""Names of a layer's fields that are not the message's in lower case."""

_NO_LAYER_FIELD = {
    "NetParameter",
    "TransformationParameter",
    "FillerParameter",
    "LossParameter",
    "ResizeParameter",
    "NoiseParameter",
    "DistortParameter",
    "ExpandParameter",
    "NonMaximumSuppressionParameter",
    "SaveOutputParameter",
}
_FIELD = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    "i": _FIELD.TYPE_INT64,
    "f": _FIELD.TYPE_FLOAT,
    "b": _FIELD.TYPE_BOOL,
    "s": _FIELD.TYPE_STRING,
}


def new_message(name: str) -> Message:
    """An empty message of ``TEXT``, such as ``NetParameter``, or ``WeightsNet`` of a caffemodel."""
    return _classes()[name]()


def enumeration(message: str, field: str) -> tuple[str, ...]:
    """The values of an enumeration, by number; an empty name where a number has none; () for other fields."""
    for item in _text_messages().get(message, "").split():
        name, _, kind = item.partition(":")
        if name == field and "|" in kind:
            return tuple(kind.rstrip("*").split("=")[0].split("|"))
    return ()


@cache
def _text_messages() -> dict[str, str]:
    fields = [
        f"{_PARAMETERS.get(name) or name.removesuffix('Parameter').lower() + '_param'}:{name}"
        for name in TEXT
        if name.endswith("Parameter") and name not in _NO_LAYER_FIELD
    ]
    layer = _LAYER + " ".join(fields)
    return {**TEXT, "LayerParameter": layer, "V1LayerParameter": layer}


@cache
def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name=f"{_PACKAGE}.proto", package=_PACKAGE, syntax="proto2")
    for name, fields in _text_messages().items():
        message = file.message_type.add(name=name)
        for number, item in enumerate(fields.split(), 1):
            _add_field(message, item, number)
    return message_classes(f"{_PACKAGE}.binary", _WEIGHTS) | classes_of(file)


def _add_field(message: Message, item: str, number: int) -> None:
    name, _, rest = item.partition(":")
    kind, _, default = rest.partition("=")
    repeated = kind.endswith("*")
    kind = kind.rstrip("*")
    field = message.field.add(name=name, number=number)
    field.label = _FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL
    if "|" in kind:
        field.type = _FIELD.TYPE_STRING
        default = default or next(filter(None, kind.split("|")))
    elif kind in _TYPES:
        field.type = _TYPES[kind]
    else:
        field.type, field.type_name = _FIELD.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
    if default and not repeated:
        field.default_value = default
