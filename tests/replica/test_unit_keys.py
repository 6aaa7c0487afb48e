import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from replica_helpers import numbers_of

from distq.data.dataset import DatasetSpec, InputSpec
from distq.graph.held_bias import HeldBias
from distq.graph.integer_weight import IntegerWeight
from distq.graph.layers import Layer
from distq.graph.names import Names
from distq.graph.patches import Geometry
from distq.replica.chain import Chain, CorrectChain, Uncorrected
from distq.replica.cuts import Advance
from distq.replica.evaluate import Evaluate
from distq.replica.float32 import LayerMeans, Observe, Outputs
from distq.replica.int8 import Errors, Score
from distq.replica.keys import arrays_key, content_key
from distq.replica.moments import InputMoments, LayerInput
from distq.replica.timing import Timing
from distq.replica.worker import Blob

MODEL, OTHER = Blob("a" * 64, None), Blob("b" * 64, None)
DATA = DatasetSpec("/data/one", (InputSpec("x", (1, 4), "float32"),))
ELSEWHERE = replace(DATA, source="/data/two")
GEOMETRY = Geometry("Conv", (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), "NOTSET", (0, 0), 1)
ADVANCE = Advance(MODEL, DATA, numbers_of({"s": np.float32([0.5])}), ("t",))
OTHER_ADVANCES = [
    replace(ADVANCE, network=OTHER),
    replace(ADVANCE, data=ELSEWHERE),
    replace(ADVANCE, numbers=numbers_of({"s": np.float32([0.25])})),
    replace(ADVANCE, numbers=numbers_of({"s": np.float32([0.5])}, {"w": MODEL})),
    replace(ADVANCE, cut=("t", "u")),
    replace(ADVANCE, float_network=True),
]
CANDIDATES = ({"s": np.float32([0.5])}, {"s": np.float32([0.4])})
LAYER = LayerInput("t", 128, GEOMETRY, patches=4)
CONV = Layer("y", "conv", "Conv", ("t",), "y", "w", None, 0)
INTEGERS = np.ones((2, 3, 3, 3), np.int8)
WEIGHT = IntegerWeight(INTEGERS, np.float32([0.1, 0.2]), 0)
ORIGINAL = np.ones((2, 3, 3, 3), np.float32)
HELD = HeldBias(0.5, WEIGHT.scale)
WAITING = Uncorrected(CONV, Names(), LAYER, 0.5, WEIGHT, ORIGINAL, np.array([0.0, 1.0]), HELD)
OTHERS_WAITING = [
    replace(WAITING, layer=replace(CONV, op="Gemm")),
    replace(WAITING, names=Names("_distq0")),
    replace(WAITING, input=replace(LAYER, patches=0)),
    replace(WAITING, step=0.25),
    replace(WAITING, weight=replace(WEIGHT, integers=2 * INTEGERS)),
    replace(WAITING, weight=replace(WEIGHT, scale=np.float32([0.1, 0.3]))),
    replace(WAITING, weight=replace(WEIGHT, axis=1)),
    replace(WAITING, original=2 * ORIGINAL),
    replace(WAITING, original=None),
    replace(WAITING, mean=np.array([0.0, 2.0])),
    replace(WAITING, held=replace(HELD, step=None)),
    replace(WAITING, held=replace(HELD, divisor=np.array([1.0, 2.0]))),
]
CHAIN = Chain(MODEL, DATA, {}, numbers_of({}), [[WAITING]])
OTHER_CHAINS = [
    replace(CHAIN, network=OTHER),
    replace(CHAIN, data=ELSEWHERE),
    *(replace(CHAIN, stages=[[other]]) for other in OTHERS_WAITING),
    replace(CHAIN, stages=[[WAITING, WAITING]]),
    replace(CHAIN, stages=[[WAITING], [WAITING]]),
    replace(CHAIN, earlier=("s",)),
    replace(CHAIN, numbers=numbers_of({"b": np.int32([1])})),
    replace(CHAIN, numbers=numbers_of({}, {"w": MODEL})),
]

UNITS = {
    "observe": (
        Observe(MODEL, ("t", "u"), DATA, (0, 1)),
        [{"model": OTHER}, {"tensors": ("t",)}, {"data": ELSEWHERE}, {"indices": (0,)}],
    ),
    "means": (
        LayerMeans(MODEL, ("t", "u"), DATA, (0, 1)),
        [{"model": OTHER}, {"layers": ("u", "t")}, {"data": ELSEWHERE}, {"indices": (1, 0)}],
    ),
    "timing": (
        Timing((MODEL, OTHER), DATA, 0, 3, "cpu", 1),
        [
            *({"models": other} for other in ((MODEL,), (OTHER, MODEL))),
            *({"data": ELSEWHERE}, {"index": 1}, {"rounds": 4}, {"device": "cuda"}, {"threads": 2}),
        ],
    ),
    "outputs": (Outputs(MODEL, DATA, (0, 1)), [{"model": OTHER}, {"data": ELSEWHERE}, {"indices": (0, 2)}]),
    "score": (
        Score(ADVANCE, ("t",), CANDIDATES, MODEL, (0, 1)),
        [
            *({"advance": other} for other in OTHER_ADVANCES),
            {"tensors": ("u",)},
            {"candidates": CANDIDATES[::-1]},
            {"candidates": CANDIDATES[:1]},
            {"float_model": OTHER},
            {"indices": (0,)},
        ],
    ),
    "errors": (
        Errors(ADVANCE, MODEL, (0, 1)),
        [*({"advance": other} for other in OTHER_ADVANCES), {"float_model": OTHER}, {"indices": (1,)}],
    ),
    "moments": (
        InputMoments(ADVANCE, LAYER, (0, 1)),
        [
            *({"advance": other} for other in OTHER_ADVANCES),
            {"input": replace(LAYER, zero_point=0)},
            {"input": replace(LAYER, patches=0)},
            {"input": replace(LAYER, blocks=2)},
            {"input": replace(LAYER, geometry=replace(GEOMETRY, strides=(2, 1)))},
            {"indices": (0, 1, 2)},
        ],
    ),
    "corrections": (
        CorrectChain(CHAIN, (0, 1)),
        [*({"chain": other} for other in OTHER_CHAINS), {"indices": (0,)}],
    ),
    "evaluate": (
        Evaluate((MODEL,), OTHER, DATA, (0, 1)),
        [
            {"models": (OTHER,)},
            {"models": (MODEL, OTHER)},
            {"float_model": None},
            {"data": ELSEWHERE},
            {"indices": (1,)},
        ],
    ),
}


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_that_differs_in_anything_that_matters_has_another_key(name):
    unit, changes = UNITS[name]
    keys = [unit.key, *(replace(unit, **change).key for change in changes)]
    assert len(set(keys)) == len(keys)


def test_units_of_different_kinds_have_different_keys():
    assert len({unit.key for unit, _ in UNITS.values()}) == len(UNITS)


@pytest.mark.parametrize("name", UNITS)
def test_a_key_is_a_hash_and_the_same_for_an_equal_unit(name):
    unit = UNITS[name][0]
    assert len(unit.key) == 64
    assert int(unit.key, 16)
    assert replace(unit).key == unit.key


@pytest.mark.parametrize("name", ["score", "errors", "outputs", "corrections"])
def test_where_a_unit_runs_is_not_in_its_key(name):
    unit = UNITS[name][0]
    assert replace(unit, affinity=3).key == unit.key


@pytest.mark.parametrize("name", UNITS.keys() - {"corrections", "timing"})
def test_a_label_names_the_samples(name):
    assert UNITS[name][0].label.endswith("samples 0-1")


def test_keys_are_the_same_in_every_process():
    code = (
        "import numpy as np; from distq.replica.keys import arrays_key, content_key;"
        "print(content_key('kind', 'ä', 3, (1, 2)), arrays_key({'b': np.arange(3), 'a': np.float32([1.5])}))"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603  # this interpreter
    own = content_key("kind", "ä", 3, (1, 2)), arrays_key({"a": np.float32([1.5]), "b": np.arange(3)})
    assert other.stdout.split() == list(own)


def test_the_key_of_arrays_knows_names_types_shapes_and_bytes_and_no_memory_layout():
    matrix = np.arange(6, dtype=np.int32).reshape(2, 3)
    own = arrays_key({"a": matrix})
    assert own == arrays_key({"a": np.asfortranarray(matrix)})
    others = [
        {"b": matrix},
        {"a": matrix.T},
        {"a": matrix.ravel()},
        {"a": matrix.view(np.uint32)},
        {"a": matrix + 1},
    ]
    assert len({own, *map(arrays_key, others)}) == 6
