import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import run_literally
from replica_helpers import Bench, numbers_of

from distq.graph.patches import Geometry, patch_sums, sampled_patches
from distq.graph.probes import stages
from distq.replica.cuts import Advance
from distq.replica.moments import InputMoments, LayerInput, by_group, products_of


def unit_of(bench, stage, indices, patches=4):
    tensors = [bench.names.quantized(layer.inputs[0]) for layer in stage]
    inputs = []
    for layer, tensor in zip(stage, tensors, strict=True):
        encoding = bench.state.encodings[bench.plan.by_tensor[layer.inputs[0]].name]
        geometry = Geometry.of(bench.loaded.model, layer)
        wanted = 0 if layer.op == "ConvTranspose" else patches
        inputs.append(LayerInput(tensor, encoding.zero_point, geometry, wanted))
    advance = Advance(bench.blob, bench.data, numbers_of({}), tuple(dict.fromkeys(tensors)))
    return InputMoments(advance, tuple(inputs), indices)


@pytest.mark.parametrize("name", ["many branches", "ConvTranspose", "Gemm, transposed"])
def test_moments_are_those_of_the_integers_that_layers_read(tmp_path, name):
    bench = Bench(tmp_path, name, samples=2)
    read = sorted({bench.names.quantized(layer.inputs[0]) for layer in bench.plan.layers})
    part = bench.network.extract(bench.network.inputs, read, {})
    values = [run_literally(part, feeds) for feeds in bench.feeds]
    for stage in stages(bench.loaded.model, bench.plan):
        unit = unit_of(bench, stage, bench.indices)
        found = bench.run(unit)
        for i, layer in enumerate(unit.inputs):
            arguments = [(layer.geometry, v[layer.tensor], layer.zero_point) for v in values]
            sums, positions = zip(*(patch_sums(*a) for a in arguments), strict=True)
            np.testing.assert_array_equal(found[f"{i}/sum"], sum(sums))
            assert found[f"{i}/positions"] == sum(positions)
            if layer.patches:
                sampled = [sampled_patches(*a, layer.patches, index) for index, a in enumerate(arguments)]
                rows = by_group(np.concatenate(sampled), layer.geometry.group)
                products = np.einsum("gpi,gpj->gij", rows, rows)
                np.testing.assert_array_equal(found[f"{i}/products"], products)
                np.testing.assert_array_equal(found[f"{i}/means"], rows.sum(1))
                assert found[f"{i}/samples"] == rows.shape[1]


def test_any_split_of_the_samples_sums_to_the_same_bits(tmp_path):
    bench = Bench(tmp_path, "many branches", samples=3)
    for stage in stages(bench.loaded.model, bench.plan):
        whole = bench.run(unit_of(bench, stage, (0, 1, 2)))
        first, rest = (bench.run(unit_of(bench, stage, part)) for part in ((2,), (0, 1)))
        assert whole.keys() == first.keys()
        for name in whole.keys() - {"forwards"}:
            np.testing.assert_array_equal(first[name].astype(np.float64) + rest[name], whole[name])


def test_products_are_left_out_where_nobody_asks(tmp_path):
    bench = Bench(tmp_path, "SiLU")
    stage = stages(bench.loaded.model, bench.plan)[0]
    found = bench.run(unit_of(bench, stage, bench.indices, patches=0))
    assert set(found) == {"0/sum", "0/positions", "forwards"}


@given(bits=st.sampled_from([8, 16]), positions=st.integers(0, 800), seed=st.integers(0, 99))
def test_products_are_exact_also_of_the_largest_integers(bits, positions, seed):
    largest = 2**bits - 1
    integers = np.random.default_rng(seed).choice([largest, -largest, 1], (2, positions, 3))
    found = products_of(integers.astype(np.float32 if bits == 8 else np.float64))
    np.testing.assert_array_equal(found, np.einsum("gpi,gpj->gij", integers, integers))


def test_patches_of_a_group_hold_its_channels():
    patches = np.arange(2 * 4 * 3, dtype=np.float64).reshape(2, 4, 3)
    found = by_group(patches, 2)
    assert found.shape == (2, 2, 6)
    np.testing.assert_array_equal(found[1, 0], patches[0, 2:].ravel())
