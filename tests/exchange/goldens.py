"""A small table in every format, as the tool that the format is of writes it, and what it says."""

from __future__ import annotations

import json
import struct

T = 6.0
FC = 17.25

TPU_MLIR = b"""# mlir version: 1.30.2 cali version 1.0
# mlir: net.mlir
# genetated time: 2026-11-28 13:00:00
# quantization threshold calculation method: kl
# histogram number: 2048
# sample number: 100
###
# tune number: 5
###
# op_name    threshold    min    max
data 1.0000080 -0.5000000 1.0000080
conv1_Relu 6.0000000 0.0000000 7.1253400
fc_Gemm 17.2500000 -9.8100000 18.0210000

#int4_th
conv1_Relu 5.5000000 -6.2857143 5.5000000

#int4_op
conv1_Relu
"""
QTABLE = b"""# generated time: 2026-11-28 13:00:00
# sample number: 100
# chip: bm1684x  mix_mode: F16
###
# op_name   quantize_mode
conv1_Relu F16
fc_Gemm F32
"""
BITMAIN_PROTOTXT = b"""name: "net"
layer {
  name: "conv1"
  threshold_y: 6.0
  right_shift_width: 9
  blob_param {
    name: "conv1"
    threshold_y: 6.0
  }
  bottom_unsigned: false
  top_unsigned: false
}
layer {
  name: "fc"
  threshold_y: 17.25
  right_shift_width: 7
  threshold_x_quantized: 117
  threshold_x_quantized: 69
}
"""
BITMAIN = bytes.fromhex("0a036e6574a206200a05636f6e7631150000c04018092a0c0a05636f6e7631150000c04038004000")
"""net/conv1/6.0/shift 9: decoded from the descriptor of common_calibration.proto by hand."""
BITMAIN_TEXT = b"""conv1 6
fc 17.25
weight conv1 1.5 2.5
bitwidth fc 16
"""
TENSORRT = b"""TRT-8502-EntropyCalibration2
data: 40008102
a [b]: c: 3c010204
conv1: 3d418306
"""
NCNN = b"""conv1_param_0 156.639840 143.228400 \nfc_param_0 127.000000 \nconv1 127.000000 \nfc 21.166667 \n"""
ORT = json.dumps(
    {
        "CLS": "TensorsData",
        "data": {"conv1": {"lowest": -7.5, "highest": 6.0, "CLS": "TensorData"}},
        "calibration_method": {"CLS": "CalibrationMethod", "value": "CalibrationMethod.Entropy"},
        "smooth_quant": True,
    }
).encode()
ORT_FLATBUFFER = bytes.fromhex(
    "0c00000000000600080004000600000004000000020000000800000030000000dcffffff080000001000000005000000"
    "3235352e3000000004000000646174610000000008000c000800040008000000080000000c00000003000000362e3000"
    "05000000636f6e7631000000"
)
"""What onnxruntime 1.32 writes of {conv1: 6.0, data: 255.0}."""
ORT_OVERRIDES = b"""{
 "conv1": [
  {
   "quant_type": "QUInt8",
   "scale": 0.0235,
   "zero_point": 0
  }
 ],
 "w": [
  {
   "quant_type": "QInt8",
   "scale": 0.01,
   "zero_point": 0,
   "axis": 0
  },
  {
   "quant_type": "QInt8",
   "scale": 0.02,
   "zero_point": 0,
   "axis": 0
  }
 ]
}
"""
SIGMASTAR = b"""[{"name": "conv1/weights", "min": [-4.55, -2.87], "max": [7.36, 3.96], "bit": 8},
 {"name": "conv1", "min": [0.0], "max": [6.0], "bit": 8},
 {"name": "fc", "min": [-9.81], "max": [18.02], "bit": 16}]
"""
AIMET_0 = json.dumps(
    {
        "activation_encodings": {
            "conv1": [
                {"bitwidth": 8, "dtype": "int", "is_symmetric": "False", "max": 6.0, "min": 0.0,
                 "offset": 0, "scale": 0.0235}
            ],
            "gone": [{"bitwidth": 16, "dtype": "float"}],
        },
        "excluded_layers": [],
        "param_encodings": {
            "w": [
                {"bitwidth": 8, "dtype": "int", "is_symmetric": "True", "max": 1.27, "min": -1.28,
                 "offset": -128, "scale": 0.01}
            ]
        },
        "quantizer_args": {"activation_bitwidth": 8},
        "version": "0.6.1",
    },
    indent=4,
).encode()  # fmt: skip
AIMET_1 = json.dumps(
    {
        "activation_encodings": [
            {"bw": 8, "dtype": "INT", "enc_type": "PER_TENSOR", "is_sym": True, "name": "conv1",
             "offset": [-128], "scale": [0.0472441]}
        ],
        "param_encodings": [
            {"bw": 8, "dtype": "INT", "enc_type": "PER_CHANNEL", "is_sym": True, "name": "w",
             "offset": [-128, -128], "scale": [0.01, 0.02]}
        ],
        "quantizer_args": {},
        "version": "1.0.0",
    },
    indent=4,
).encode()  # fmt: skip
AIMET_2 = json.dumps(
    {
        "encodings": [
            {"name": "data", "output_dtype": "uint8", "y_scale": 0.0274, "y_zero_point": 128},
            {"name": "relu1", "output_dtype": "uint8", "y_scale": 0.0235},
            {"axis": 0, "name": "w", "output_dtype": "int8", "y_scale": [0.01, 0.02]},
            {"axis": 0, "name": "b", "output_dtype": "int32", "y_scale": [0.000274, 0.000548]},
        ],
        "producer": {"package": "aimet_onnx", "version": "2.42.0"},
        "version": "2.0.0",
    },
    indent=4,
).encode()
RKNN = b"""custom_quantize_layers: {}
quantize_parameters:
    data:
        qtype: asym
        qmethod: layer
        dtype: float32
        min: []
        max: []
        scale: []
        zero_point: []
    data_int8:
        qtype: asym
        qmethod: layer
        dtype: int8
        min:
        -   -1.0
        max:
        -   2.0
        scale:
        -   0.011764705882352941
        zero_point:
        -   -43
        ori_min:
        -   -1.0
        ori_max:
        -   2.0
    r1:
        qtype: asym
        qmethod: layer
        dtype: int8
        min:
        -   0.0
        max:
        -   6.0
        scale:
        -   0.023529411764705882
        zero_point:
        -   -128
"""
AMCT = b"""record {
  key: "conv1"
  value {
    scale_d: 0.0235294
    offset_d: -128
    scale_w: 0.01
    scale_w: 0.02
    offset_w: 0
    offset_w: 0
  }
}
"""
PPQ = b"""{
    "act_quant_info": {
        "conv1": 6.0,
        "fc": 17.25
    }
}
"""
CSV = b"""tensor,threshold,min,max,observed_min,observed_max,bits,signed,scale,zero_point,convention,method,\
tied_to
a,0.1,-0.1,0.1,-3.5,2.0,8,true,0.0007874015718698502,0,127,kl,
b,2.0,0.0,2.0,0.0,2.5,16,false,3.0518044e-05,0,65535,max,a
"""
DISTQ = b"""{
 "format": "distq-thresholds-1",
 "tensors": {
  "a": {
   "threshold": 0.1,
   "min": -0.1,
   "max": 0.1,
   "observed_min": -3.5,
   "observed_max": 2.0,
   "bits": 8,
   "signed": true,
   "scale": 0.0007874015718698502,
   "zero_point": 0,
   "convention": "127",
   "method": "kl",
   "tied_to": null
  }
 }
}
"""


def _trt(hexadecimal: str) -> float:
    return 127 * struct.unpack(">f", bytes.fromhex(hexadecimal))[0]


_LEGACY = 127 / 128
"""From Bitmain's convention to distq's."""

SAID: dict[str, tuple[bytes, dict[str, tuple[float, float, float]], dict[str, tuple[float, ...]]]] = {
    "tpu-mlir": (
        TPU_MLIR,
        {"data": (1.000008, -0.5, 1.000008), "conv1_Relu": (6, 0, 6), "fc_Gemm": (17.25, -9.81, 17.25)},
        {},
    ),
    "qtable": (QTABLE, {}, {}),
    "bitmain-prototxt": (
        BITMAIN_PROTOTXT,
        {n: (t * _LEGACY, -t * _LEGACY, t * _LEGACY) for n, t in (("conv1", T), ("fc", FC))},
        {},
    ),
    "bitmain": (BITMAIN, {"conv1": (T * _LEGACY, -T * _LEGACY, T * _LEGACY)}, {}),
    "bitmain-text": (
        BITMAIN_TEXT,
        {n: (t * _LEGACY, -t * _LEGACY, t * _LEGACY) for n, t in (("conv1", T),)}
        | {"fc": (FC * _LEGACY, -FC * _LEGACY, FC * _LEGACY)},
        {"conv1": (1.5 / 128, 2.5 / 128)},
    ),
    "tensorrt": (
        TENSORRT,
        {
            name: (_trt(code), -_trt(code), _trt(code))
            for name, code in (("data", "40008102"), ("a [b]: c", "3c010204"), ("conv1", "3d418306"))
        },
        {},
    ),
    "ncnn": (
        NCNN,
        {"conv1": (1, -1, 1), "fc": (127 / 21.166667, -127 / 21.166667, 127 / 21.166667)},
        {"conv1": (1 / 156.63984, 1 / 143.2284), "fc": (1 / 127,)},
    ),
    "ort": (ORT, {"conv1": (7.5, -7.5, 6.0)}, {}),
    "ort-overrides": (ORT_OVERRIDES, {"conv1": (0.0235 * 255, 0, 0.0235 * 255)}, {"w": (0.01, 0.02)}),
    "sigmastar": (
        SIGMASTAR,
        {"conv1/weights": (7.36, -4.55, 7.36), "conv1": (6, 0, 6), "fc": (18.02, -9.81, 18.02)},
        {"conv1/weights": (7.36 / 127, 3.96 / 127)},
    ),
    "aimet-0.6": (AIMET_0, {"conv1": (0.0235 * 255, 0, 0.0235 * 255)}, {"w": (0.01,)}),
    "aimet-1.0": (
        AIMET_1,
        {"conv1": (0.0472441 * 127, -0.0472441 * 127, 0.0472441 * 127)},
        {"w": (0.01, 0.02)},
    ),
    "aimet-2.0": (
        AIMET_2,
        {"data": (0.0274 * 128, -0.0274 * 128, 0.0274 * 127), "relu1": (0.0235 * 255, 0, 0.0235 * 255)},
        {"w": (0.01, 0.02)},
    ),
    "rknn": (RKNN, {"data_int8": (2, -1, 2), "r1": (6, 0, 6)}, {}),
    "amct": (AMCT, {"conv1": (6, 0, 6)}, {"conv1": (0.01, 0.02)}),
    "ppq": (PPQ, {"conv1": (6, -6, 6), "fc": (17.25, -17.25, 17.25)}, {}),
    "csv": (CSV, {"a": (0.1, -0.1, 0.1), "b": (2, 0, 2)}, {}),
    "distq": (DISTQ, {"a": (0.1, -0.1, 0.1)}, {}),
}
"""By format: the file, (threshold, low, high) of each activation in distq's convention, scales of weights."""
