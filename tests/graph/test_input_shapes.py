"""Dimensions of inputs that a model leaves open, given by the user."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from networks import Builder, write

from distq.errors import UsageError
from distq.graph.input_shapes import with_shapes
from distq.graph.load import load_model
from distq.graph.read import read_onnx


@pytest.fixture
def path(tmp_path: Path) -> Path:
    b = Builder(1)
    b.conv("x", (3, 4), output="a")
    b.node("Relu", "a", output="y")
    proto = b.model({"x": ["N", 3, "height", "width"], "z": ["N", 2]}, {"y": ["N", 4, "height", "width"]})
    proto.graph.node.append(onnx.helper.make_node("Neg", ["z"], ["w"]))
    proto.graph.output.append(onnx.helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, ["N", 2]))
    return write(tmp_path, proto)


def shapes(path: Path, **given: tuple[int, ...]) -> dict[str | None, list[object]]:
    model = load_model(path, read=with_shapes(read_onnx, given)).model
    return {v.name: [str(d) for d in v.shape or ()] for v in (*model.graph.inputs, *model.graph.outputs)}


def test_open_dimensions_get_their_sizes_wherever_they_are_named(path: Path) -> None:
    assert shapes(path)["y"] == ["N", "4", "height", "width"]
    assert shapes(path, x=(1, 3, 8, 6)) == {
        "x": ["1", "3", "8", "6"],
        "z": ["1", "2"],
        "y": ["1", "4", "8", "6"],
        "w": ["1", "2"],
    }


@pytest.mark.parametrize(
    ("name", "sizes", "words"),
    [
        ("image", (1, 3, 8, 8), "image, which is no input of .*; the nearest is"),
        ("x", (1, 4, 8, 8), r"x=1,4,8,8 does not fit .*, whose x is \?,3,\?,\?"),
        ("x", (3, 8, 8), r"x=3,8,8 does not fit"),
    ],
)
def test_what_does_not_fit_is_refused(path: Path, name: str, sizes: tuple[int, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        shapes(path, **{name: sizes})


def test_two_inputs_that_share_a_dimension_cannot_have_two_sizes(path: Path) -> None:
    with pytest.raises(UsageError, match="z=2,2 does not fit"):
        shapes(path, x=(1, 3, 8, 8), z=(2, 2))
