"""Settings by layer in a prototxt."""

from __future__ import annotations

from pathlib import Path

import pytest

from distq.errors import UsageError
from distq.exchange.caffe.layer_settings import layer_settings_of
from distq.exchange.caffe.prototxt import parse_prototxt

NETWORK = """
layer { name: "data" type: "Input" top: "data" th_strategy: USE_MAX }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" th_strategy: USE_KL th_scale: 1.25 }
layer { name: "conv2" type: "Convolution" bottom: "conv1" top: "conv2" threshold: 3.5 th_scale: 2 }
layer { name: "conv3" type: "Convolution" bottom: "conv2" top: "conv3" th_strategy: USE_DEFAULT th_scale: 1 }
layer { name: "parts" type: "Slice" bottom: "conv3" top: "left" top: "right" threshold: 1 threshold: 2 }
layer { name: "prob" type: "Softmax" bottom: "left" top: "prob" forward_with_float: true }
layer { name: "loss" type: "SoftmaxWithLoss" include { phase: TRAIN } threshold: 9 }
"""


def settings(text: str, method: str = "auto") -> dict[str, dict[str, object]]:
    found = layer_settings_of(parse_prototxt(text, Path("net.prototxt")), method)
    return {name: entry.given for name, entry in found.items()}


def test_the_fields_of_a_layer_are_settings_by_its_name() -> None:
    assert settings(NETWORK) == {
        "data": {"method": "max"},
        "conv1": {"method": "kl", "scale": 1.25},
        "conv2": {"threshold": 3.5},
        "parts": {"threshold": 1.0},
        "right": {"threshold": 2.0},
        "prob": {"float": True},
    }


@pytest.mark.parametrize(
    ("method", "meant"), [("kl", "kl"), ("symkl", "symkl"), ("jsd", "jsd"), ("mse", "kl")]
)
def test_use_kl_means_the_divergence_of_the_run(method: str, meant: str) -> None:
    assert settings(NETWORK, method)["conv1"]["method"] == meant


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ('layer {\n name: "a"\n th_scale: -1 }', "net.prototxt, line 1: layer a: scale -1.0"),
        (
            '\nlayer { name: "a" top: "a" threshold: 1 threshold: 2 }',
            "line 2: layer a has 2 thresholds for 1",
        ),
        ('layer { name: "a" threshold: 0 }', "layer a: threshold 0.0"),
    ],
)
def test_values_that_cannot_be(layer: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        settings(layer)
