import numpy as np
import onnx
import pytest
from networks import SETTINGS
from replica_helpers import Bench, numbers_of

from distq.files import sha256_bytes
from distq.graph.subgraph import Network
from distq.replica.numbers import OpenNumbers, open_numbers
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


def share(data):
    return Blob(sha256_bytes(data), data)


def opened(arrays=None, weights=None, net=None):
    return OpenNumbers(worker(), numbers_of(arrays, weights), net or Network(b""))


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
        "scales": opened({scale: np.float32(0.5)}, net=bench.network),
        "weights": opened(weights={weight: Blob("w", integers[::-1].tobytes())}, net=bench.network),
    }[kind]
    found = numbers.tensors(worker(), (weight, scale))
    wanted = {"scales": {scale: np.float32(0.5)}, "weights": {weight: integers[::-1]}}[kind]
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_array_equal(onnx.numpy_helper.to_array(found[name]), array)


def parts_of(bench):
    """Weights of the layers turned round, each layer's a part behind the others."""
    parts = [numbers_of({})]
    for layer in bench.plan.layers:
        integers = bench.state.weights[layer.name].integers[::-1].tobytes()
        weight = {f"{bench.names.weight(layer.name)}_quantized": share(integers)}
        scale = {bench.names.scale(bench.plan.by_tensor[layer.inputs[0]].name): np.float32(len(parts))}
        parts.append(parts[-1].with_more(scale, share, weight))
    return parts


@pytest.mark.parametrize("name", ["many branches", "detector"])
def test_a_part_behind_others_opens_to_what_all_of_them_are_at_once(tmp_path, name):
    bench = Bench(tmp_path, name)
    net, blob, own = bench.network, bench.blob, worker()
    for numbers in parts_of(bench):
        whole = OpenNumbers(worker(), numbers, net)
        grown = open_numbers(own, numbers, blob, net)
        assert [grown.before(t) for t in net.producer] == [whole.before(t) for t in net.producer]
        names = tuple(net.initializers)
        assert grown.key(names) == whole.key(names)
        assert grown.tensors(own, names) == whole.tensors(own, names)


@pytest.mark.parametrize("name", ["many branches", "detector"])
def test_a_tensor_is_told_apart_by_the_constants_before_it_and_by_no_others(tmp_path, name):
    bench = Bench(tmp_path, name)
    net = bench.network
    states = [open_numbers(worker(), numbers, bench.blob, net) for numbers in parts_of(bench)]
    for tensor in net.producer:
        constants = net.constants_of(net.before([tensor]))
        different = len({state.key(constants) for state in states})
        pairs = {(state.key(constants), state.before(tensor)) for state in states}
        assert len(pairs) == different == len({before for _, before in pairs})


def test_a_later_part_takes_the_place_of_an_earlier_one():
    first = numbers_of(ARRAYS, WEIGHTS)
    second = first.with_more({"a": np.array([1.5], np.float32)}, share, {"w": Blob("second", b"")})
    net = Network(b"")
    found = OpenNumbers(worker(), second, net, OpenNumbers(worker(), first, net))
    other = opened({**ARRAYS, "a": np.array([1.5], np.float32)}, {"w": Blob("second", b"")})
    assert found.key(("a", "b", "w")) == other.key(("a", "b", "w"))
    assert second.key not in {first.key, first.with_more({}, share, {}).key}
