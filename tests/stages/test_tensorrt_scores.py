"""Target tensorrt in ONNX Runtime: float biases survive fusing, and scores are the exported model's."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from replica_helpers import Bench
from score_checks import NAMES, assert_scores_are_those_of_the_exported_model


@pytest.mark.parametrize("name", NAMES)
def test_a_score_is_the_exported_models_error_to_the_last_bit(tmp_path, name):
    assert_scores_are_those_of_the_exported_model(Bench(tmp_path, name, "tensorrt", samples=2))


@pytest.mark.parametrize("name", ["many branches", "Gemm", "ConvTranspose"])
def test_fusing_keeps_every_float_bias_as_it_is_under_its_name(tmp_path, name):
    bench = Bench(tmp_path, name, "tensorrt")
    fused = {t.name: t for t in onnx.load_model_from_string(bench.fused).graph.initializer}
    assert bench.state.biases
    for layer, bias in bench.state.biases.items():
        found = numpy_helper.to_array(fused[bench.names.float_bias(layer)])
        np.testing.assert_array_equal(found, bias.astype(np.float32))
    assert all(t.data_type != TensorProto.INT32 for t in fused.values())
