"""An export that takes the nodes of an earlier one gives the bytes of one that writes them anew."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import onnx
import pytest
from networks import Quantized
from zoo import NETWORKS, branched

from distq.graph import qdq
from distq.graph.structure import Structures
from distq.quant.scheme import encode


@pytest.fixture
def written(monkeypatch):
    """How many times nodes were written; nothing is known at first."""
    counted = []
    write = qdq.quantized_model
    monkeypatch.setattr(qdq, "_STRUCTURES", Structures())
    monkeypatch.setattr(qdq, "quantized_model", lambda *given: counted.append(1) or write(*given))
    return counted


def anew(model, plan, state, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(qdq, "_STRUCTURES", Structures())
        return qdq.export(model, plan, state)


@pytest.mark.parametrize("target", ["ort", "openvino", "tensorrt"])
def test_other_numbers_are_filled_into_the_same_nodes(load, written, monkeypatch, target):
    quantized = Quantized(load(branched()), target)
    model, plan, state = quantized.loaded.model, quantized.plan, quantized.state
    moved = replace(
        state,
        encodings={name: e.with_steps_times(1.25) for name, e in state.encodings.items()},
        weights={name: replace(w, integers=w.integers // 2) for name, w in state.weights.items()},
        biases={name: bias + 1 for name, bias in state.biases.items()},
    )
    wanted = [anew(model, plan, one, monkeypatch) for one in (state, moved)]
    assert wanted[0] != wanted[1]
    written.clear()
    assert [qdq.export(model, plan, one) for one in (state, moved, state)] == [*wanted, wanted[0]]
    assert len(written) == 1


def test_numbers_of_another_type_are_written_anew(load, written, monkeypatch):
    quantized = Quantized(load(branched()))
    model, plan, state = quantized.loaded.model, quantized.plan, quantized.state
    qdq.export(model, plan, state)
    first, encoding = next(iter(state.encodings.items()))
    signed = encoding.dtype != np.int8
    other = state.with_encoding(first, encode(-1.0, 1.0, 8, symmetric=signed, signed=signed))
    found = qdq.export(model, plan, other)
    assert len(written) == 2
    assert found == anew(model, plan, other, monkeypatch)
    onnx.checker.check_model(onnx.load_model_from_string(found), full_check=True)


def test_what_was_written_goes_with_its_model(load):
    structures = Structures()
    quantized = Quantized(load(NETWORKS["ConvTranspose"]()))
    model = quantized.loaded.model
    proto = onnx.load_model_from_string(quantized.exported)
    structures.exported(model, quantized.plan, {}, lambda: proto)
    gone = weakref.ref(model)
    del model, quantized
    gc.collect()
    assert gone() is None
    assert not structures._kept
