import numpy as np
import pytest
from networks import Builder, Quantized, run_literally

from distq.graph.patches import Geometry, patch_sums, sampled_patches

CONVOLUTIONS = {
    "plain": {},
    "padded": {"pads": [1, 1, 1, 1]},
    "asymmetric pads": {"pads": [0, 2, 1, 0]},
    "strided": {"strides": [2, 3], "pads": [1, 0, 0, 1]},
    "dilated": {"dilations": [2, 1], "pads": [2, 1, 2, 1]},
    "same, extra at the end": {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
    "same, extra at the start": {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
    "valid": {"auto_pad": "VALID"},
    "in groups": {"group": 2, "pads": [1, 1, 1, 1]},
}
TRANSPOSED = {
    "plain": {},
    "strided": {"strides": [2, 2]},
    "cut off": {"strides": [2, 2], "pads": [1, 0, 1, 1]},
    "output padding": {"strides": [2, 2], "output_padding": [1, 0], "pads": [1, 1, 1, 1]},
    "dilated": {"dilations": [2, 1], "strides": [1, 2]},
    "output shape": {"strides": [2, 2], "output_shape": [16, 13]},
    "output shape, extra at the end": {
        "strides": [2, 2],
        "output_shape": [18, 13],
        "auto_pad": "SAME_UPPER",
    },
    "output shape, output padding": {"strides": [2, 2], "output_shape": [18, 16], "output_padding": [1, 1]},
}


def layer_of(load, op, shape, attributes, inputs):
    b = Builder()
    b.node(op, "x", b.random(*shape, name="w"), output="y", **attributes)
    loaded = load(b.model({"x": inputs}, ["y"]))
    quantized = Quantized(loaded)
    return loaded, quantized.plan.layers[0], b.initializers["w"]


def integers(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize(
    ("op", "shape", "attributes"),
    [
        *(
            pytest.param("Conv", (6, 4 // a.get("group", 1), 3, 2), a, id=f"Conv, {n}")
            for n, a in CONVOLUTIONS.items()
        ),
        *(
            pytest.param("ConvTranspose", (4, 5, 3, 2), a, id=f"ConvTranspose, {n}")
            for n, a in TRANSPOSED.items()
        ),
        pytest.param("Conv", (5, 4, 1, 1), {"strides": [2, 2]}, id="Conv, 1x1"),
    ],
)
def test_weights_times_summed_patches_are_the_summed_outputs(load, op, shape, attributes):
    loaded, layer, weight = layer_of(load, op, shape, attributes, ["N", 4, 9, 8])
    data, zero_point = integers((2, 4, 9, 8)), 100
    geometry = Geometry.of(loaded.model, layer)
    sums, positions = patch_sums(geometry, data.sum(0, dtype=float), len(data), zero_point)
    outputs = run_literally(loaded.serialized(), {"x": data.astype(np.float32) - zero_point})["y"]
    assert positions == outputs.size // outputs.shape[1]
    assert sums.shape == (4, 3, 2) or shape[2:] == (1, 1)
    exact = weight.astype(np.float64)
    if op == "ConvTranspose":
        found = np.einsum("coij,cij->o", exact, sums)
    else:
        grouped = sums.reshape(geometry.group, -1, *sums.shape[1:])
        found = np.einsum("goiyx,giyx->go", exact.reshape(geometry.group, -1, *shape[1:]), grouped).ravel()
    wanted = outputs.astype(np.float64).sum((0, 2, 3))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-3 * abs(outputs).sum() / outputs.size)


@pytest.mark.parametrize("attributes", CONVOLUTIONS.values(), ids=CONVOLUTIONS.keys())
def test_weights_times_sampled_patches_are_outputs_of_the_first_image(load, attributes):
    group = attributes.get("group", 1)
    loaded, layer, weight = layer_of(load, "Conv", (6, 4 // group, 3, 2), attributes, ["N", 4, 9, 8])
    data, zero_point = integers((2, 4, 9, 8)), 100
    patches = sampled_patches(Geometry.of(loaded.model, layer), data, zero_point, 64, seed=3)
    outputs = run_literally(loaded.serialized(), {"x": data.astype(np.float32) - zero_point})["y"][0]
    columns = outputs.reshape(6, -1).T  # (positions, channels)
    grouped = patches.reshape(len(patches), group, -1)
    found = np.einsum("gof,pgf->pgo", weight.reshape(group, 6 // group, -1).astype(np.float64), grouped)
    found = found.reshape(len(patches), 6)
    assert len(patches) == min(64, len(columns))
    distances = abs(found[:, None] - columns[None]).max(axis=2).min(axis=1)
    assert distances.max() < 1e-2


def test_samples_move_with_the_seed_and_are_the_same_for_the_same_one(load):
    loaded, layer, _ = layer_of(load, "Conv", (6, 4, 3, 3), {}, [1, 4, 30, 30])
    geometry, data = Geometry.of(loaded.model, layer), integers((1, 4, 30, 30))
    first, again, other = (sampled_patches(geometry, data, 0, 50, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert len(first) == 50
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("rank", [1, 3])
def test_one_and_three_dimensions_work_as_two(load, rank):
    shape, size = (6, 4, *[3] * rank), [5, 6, 7][:rank]
    loaded, layer, weight = layer_of(load, "Conv", shape, {"pads": [1] * 2 * rank}, [1, 4, *size])
    data = integers((1, 4, *size))
    sums, positions = patch_sums(Geometry.of(loaded.model, layer), data.sum(0, dtype=float), len(data), 128)
    outputs = run_literally(loaded.serialized(), {"x": data.astype(np.float32) - 128})["y"]
    assert positions == np.prod(size)
    found = (weight.astype(np.float64) * sums).reshape(6, -1).sum(1)
    np.testing.assert_allclose(
        found, outputs.astype(np.float64).sum(tuple(range(2, rank + 2)))[0], rtol=1e-3, atol=1
    )


def test_a_gemm_sums_and_samples_its_rows(load):
    loaded, layer, _ = layer_of(load, "Gemm", (8, 5), {}, ["N", 8])
    geometry, data = Geometry.of(loaded.model, layer), integers((3, 8))
    sums, positions = patch_sums(geometry, data.sum(0, dtype=float), len(data), 7)
    np.testing.assert_array_equal(sums, (data.astype(int) - 7).sum(0))
    assert positions == 3
    np.testing.assert_array_equal(sampled_patches(geometry, data, 7, 2, 0)[..., 0], data[:2].astype(int) - 7)


def test_sums_of_integers_are_exact_whatever_the_order():
    geometry = Geometry("Conv", (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), "NOTSET", (0, 0), 1)
    data = np.random.default_rng(0).integers(0, 65536, (4, 3, 16, 16), np.uint16)
    whole = patch_sums(geometry, data.sum(0, dtype=float), len(data), 30_000)[0]
    parts = [patch_sums(geometry, data[i].astype(float), 1, 30_000)[0] for i in (3, 0, 2, 1)]
    np.testing.assert_array_equal(sum(parts), whole)
    assert (whole == np.rint(whole)).all()
