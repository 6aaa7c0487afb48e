import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import run_literally
from replica_helpers import Bench, numbers_of

from distq.graph.patches import Geometry, patch_sums, sampled_patches
from distq.graph.probes import stages
from distq.replica.cuts import Advance
from distq.replica.moments import (
    MOST_OF_BYTES,
    InputMoments,
    LayerInput,
    add_up,
    by_group,
    products_of,
    total,
)


def unit_of(bench, layer, indices, patches=4, blocks=1):
    tensor = bench.names.quantized(layer.inputs[0])
    encoding = bench.state.encodings[bench.plan.by_tensor[layer.inputs[0]].name]
    geometry = Geometry.of(bench.loaded.model, layer)
    wanted = 0 if layer.op == "ConvTranspose" else patches
    read = LayerInput(tensor, encoding.zero_point, geometry, wanted, blocks)
    return InputMoments(Advance(bench.blob, bench.data, numbers_of({}), (tensor,)), read, indices)


def layers_of(bench):
    return [layer for stage in stages(bench.loaded.model, bench.plan) for layer in stage]


@pytest.mark.parametrize("name", ["many branches", "ConvTranspose", "Gemm, transposed"])
def test_moments_are_those_of_the_integers_that_layers_read(tmp_path, name):
    bench = Bench(tmp_path, name, samples=2)
    read = sorted({bench.names.quantized(layer.inputs[0]) for layer in bench.plan.layers})
    part = bench.network.extract(bench.network.inputs, read, {})
    values = [run_literally(part, feeds) for feeds in bench.feeds]
    for layer in layers_of(bench):
        unit = unit_of(bench, layer, bench.indices)
        found, own = bench.run(unit), unit.input
        arguments = [(own.geometry, v[own.tensor], own.zero_point) for v in values]
        sums, positions = zip(
            *(patch_sums(g, v.sum(0, dtype=float), len(v), z) for g, v, z in arguments), strict=True
        )
        np.testing.assert_array_equal(found["sum"], sum(sums))
        assert found["positions"] == sum(positions)
        if own.patches:
            sampled = [sampled_patches(*a, own.patches, index) for index, a in enumerate(arguments)]
            rows = by_group(np.concatenate(sampled), own.geometry.group)
            products = np.einsum("gpi,gpj->gij", rows, rows)
            np.testing.assert_array_equal(found["products"], products)
            np.testing.assert_array_equal(found["means"], rows.sum(1))
            assert found["samples"] == rows.shape[1]


def test_any_split_of_the_samples_sums_to_the_same_bits(tmp_path):
    bench = Bench(tmp_path, "many branches", samples=3)
    for layer in layers_of(bench):
        whole = bench.run(unit_of(bench, layer, (0, 1, 2)))
        found = total([bench.run(unit_of(bench, layer, part)) for part in ((2,), (0, 1))])
        assert whole.keys() == found.keys()
        for name in whole.keys() - {"forwards"}:
            np.testing.assert_array_equal(found[name], whole[name])


def test_products_are_left_out_where_nobody_asks(tmp_path):
    bench = Bench(tmp_path, "SiLU")
    found = bench.run(unit_of(bench, layers_of(bench)[0], bench.indices, patches=0))
    assert set(found) == {"sum", "positions", "forwards"}


def test_blocks_hold_the_products_within_them(tmp_path):
    bench = Bench(tmp_path, "SiLU")
    layer = next(one for one in layers_of(bench) if one.inputs[0] != "x")
    whole = bench.run(unit_of(bench, layer, bench.indices))["products"][0]
    halves = bench.run(unit_of(bench, layer, bench.indices, blocks=2))["products"]
    middle = len(whole) // 2
    np.testing.assert_array_equal(halves, [whole[:middle, :middle], whole[middle:, middle:]])


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


def test_of_a_stack_of_rows_each_row_counts_and_not_each_sample(tmp_path):
    """How well a covariance is known goes by the rows: a transformer has many in each sample."""
    bench = Bench(tmp_path, "MatMul of a stack", samples=3)
    layer = layers_of(bench)[0]
    tensor = bench.names.quantized(layer.inputs[0])
    read = bench.network.extract(bench.network.inputs, [tensor], {})
    rows = sum(run_literally(read, feeds)[tensor][..., 0].size for feeds in bench.feeds)
    assert rows > len(bench.feeds)
    assert bench.run(unit_of(bench, layer, bench.indices, patches=rows))["samples"] == rows


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16])
def test_images_of_any_integers_add_up_exactly(dtype):
    limits = np.iinfo(dtype)
    images = np.array([[[limits.min, limits.max, 1]], [[limits.min, limits.max, 2]]], dtype)
    wanted = images.astype(object).sum(axis=0)
    sums = add_up(images, None, 2)
    for data in (images, images[:, 0]):  # rows of a MatMul too
        sums = add_up(data, None, 2)
        assert sums.tolist() == wanted.tolist() if data.ndim == 3 else wanted[0].tolist()
    start = np.full((1, 3), np.iinfo(np.int32).max, np.int32)
    found = add_up(images, start, MOST_OF_BYTES)
    assert found.tolist() == (wanted + np.iinfo(np.int32).max).tolist()
