import numpy as np
import onnx
import pytest
from networks import SETTINGS
from replica_helpers import Bench, numbers_of

from distq.replica.numbers import OpenNumbers
from distq.replica.worker import Blob, Worker

ARRAYS = {"a": np.array([1.0], np.float32), "b": np.array([2], np.int32)}
WEIGHTS = {"w": Blob("first", b"")}
OTHERS = [
    ({**ARRAYS, "a": np.array([1.5], np.float32)}, WEIGHTS),
    ({**ARRAYS, "a": np.array([[1.0]], np.float32)}, WEIGHTS),
    ({**ARRAYS, "b": np.array([2], np.int64)}, WEIGHTS),
    (ARRAYS, {"w": Blob("second", b"")}),
    (ARRAYS, None),
]


def worker():
    return Worker(SETTINGS, fetch=lambda blob: blob.handle)


def opened(arrays=None, weights=None):
    return OpenNumbers(worker(), numbers_of(arrays, weights))


def test_the_key_tells_any_two_constants_apart_and_knows_no_order():
    own = numbers_of(ARRAYS, WEIGHTS).key
    assert own == numbers_of(dict(reversed(ARRAYS.items())), {"w": Blob("first", b"other")}).key
    assert len({own, *(numbers_of(*other).key for other in OTHERS)}) == 6


def test_on_a_worker_the_key_is_that_of_the_constants_asked_for():
    names = ("a", "b", "w")
    assert opened(ARRAYS, WEIGHTS).key(("a",)) == opened({"a": ARRAYS["a"]}).key(("a", "z"))
    keys = {opened(ARRAYS, WEIGHTS).key(names), *(opened(*other).key(names) for other in OTHERS)}
    assert len(keys) == 6


@pytest.mark.parametrize("kind", ["scales", "weights"])
def test_only_what_is_replaced_is_found(tmp_path, kind):
    bench = Bench(tmp_path, "many branches")
    layer = bench.plan.layers[0].name
    weight, scale = f"{bench.names.weight(layer)}_quantized", bench.names.scale(bench.plan.quantizers[0].name)
    integers = bench.state.weights[layer].integers
    numbers = {
        "scales": opened({scale: np.float32(0.5)}),
        "weights": opened(weights={weight: Blob("w", integers[::-1].tobytes())}),
    }[kind]
    found = numbers.tensors(worker(), bench.network, (weight, scale))
    wanted = {"scales": {scale: np.float32(0.5)}, "weights": {weight: integers[::-1]}}[kind]
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_array_equal(onnx.numpy_helper.to_array(found[name]), array)
