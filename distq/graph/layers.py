"""Which nodes of a float model can be quantized.

The compute layers, what connects them, and why others stay float.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from distq.graph.linear import bias_add, result_of
from distq.graph.values import constant, first_written, is_float, is_overridable, only_reader
from distq.targets.operators import ARITHMETIC, CONNECTING, LAYERS, PASS_THROUGH, SWISHES

if TYPE_CHECKING:
    import onnx_ir as ir

ACTIVATIONS = frozenset(
    {
        "Relu",
        "Clip",
        "LeakyRelu",
        "PRelu",
        "Sigmoid",
        "HardSigmoid",
        "HardSwish",
        "Tanh",
        "Elu",
        "Selu",
        "Softplus",
        "Mish",
        "Gelu",
        "Swish",
    }
)
_LEAST_MASK, _LEAST_OPERAND = 1e3, 1e-6
"""What a constant operand of an integer kernel lies between; a mask is -1e4 or less as a rule."""

BOUNDED = frozenset({"Sigmoid", "HardSigmoid", "Softmax", "Tanh"})


@dataclass(frozen=True)
class Layer:
    """A node with weights (or a MatMul of two activations), and the activation behind it.

    Attributes:
        name: the output tensor in the user's model; that of the Relu or Clip where one follows alone.
        node: the compute node's name.
        op: its type.
        inputs: its activation inputs.
        output: its own output tensor, with its bias.
        weight, bias: names of initializers, None where there are none.
        axis: the output channel's axis of the weight.
        add: name of the Add that gives a MatMul its bias, as its second input; None: the node has it itself.
        subpixel: strides of a ConvTranspose that is exported as a Conv of its phases; empty: as it is.
        float_bias: the runtime runs the Add by itself, so that its bias is float32.
    """

    name: str
    node: str
    op: str
    inputs: tuple[str, ...]
    output: str
    weight: str | None
    bias: str | None
    axis: int | None
    add: str | None = None
    subpixel: tuple[int, ...] = ()
    float_bias: bool = False

    @property
    def reads_bias(self) -> tuple[str, int]:
        """The node that reads the bias, and the position of its input."""
        return (self.node, 2) if self.add is None else (self.add, 1)

    @property
    def stored_axis(self) -> int | None:
        """The output channel's axis of the weight as it is exported."""
        return 0 if self.subpixel else self.axis


def compute_layer(node: ir.Node, carried: AbstractSet[str] = LAYERS) -> Layer | str | None:  # noqa: C901, PLR0911, PLR0912  # a list of conditions, each with its reason
    """The layer a node makes, the reason why it stays float, or None for a node that is no compute node.

    Args:
        node: any.
        carried: compute operators that INT8 carries.
    """
    if node.domain or node.op_type not in LAYERS:
        return None
    if node.op_type not in carried:
        return f"{node.op_type} has no integer kernel"
    if not all(is_float(v) for v in (*node.inputs[:2], node.outputs[0])):
        return f"{node.op_type} is not float32"
    if any(map(is_overridable, node.inputs)):
        return f"{node.op_type} reads an initializer that a caller may replace"
    weight_value = node.inputs[1]
    weight = constant(weight_value)
    output, name = result_of(node).name or "", layer_name(node)
    if node.op_type == "MatMul" and weight is None:
        if constant(node.inputs[0]) is not None:
            return "MatMul has its constant on the left"
        both = tuple(v.name or "" for v in node.inputs if v is not None)
        return Layer(name, node.name or "", node.op_type, both, output, None, None, None)
    if weight is None or weight_value is None:
        return f"{node.op_type} computes its own weights"
    if node.op_type == "Gemm" and not _plain_gemm(node):
        return "Gemm has a transposed input, a scaled product or a bias that is not one value a column"
    if not np.isfinite(weight).all():
        return f"{node.op_type} has weights that are NaN or infinite"
    add = bias_add(node)
    bias = add.inputs[1] if add is not None else node.inputs[2] if len(node.inputs) > 2 else None
    if bias is not None and constant(bias) is None:
        return f"{node.op_type} computes its own bias"
    data = node.inputs[0]
    if data is None or constant(data) is not None:
        return f"{node.op_type} has a constant input"
    axis = {"Conv": 0, "ConvTranspose": 1, "MatMul": weight.ndim - 1}.get(node.op_type)
    if axis is None:
        axis = 0 if node.attributes.get_int("transB", 0) else 1
    if node.op_type == "ConvTranspose" and node.attributes.get_int("group", 1) != 1:
        return "ConvTranspose has groups"
    if node.op_type == "MatMul" and weight.ndim != 2:
        axis = None
    return Layer(
        name,
        node.name or "",
        node.op_type,
        (data.name or "",),
        output,
        weight_value.name,
        bias.name if bias is not None else None,
        axis,
        None if add is None else add.name or "",
    )


def layer_name(node: ir.Node) -> str:
    """The output of a node with its bias, or of the Relu or Clip that alone reads it."""
    follower = saturating_follower(node)
    return (result_of(node) if follower is None else follower.outputs[0]).name or ""


def float_name(node: ir.Node) -> str:
    """What a node in float is called: its output, or the layer's name where it is one."""
    return layer_name(node) if node.op_type in LAYERS else first_written(node)


def saturating_follower(node: ir.Node) -> ir.Node | None:
    """The Relu, or Clip from zero, that is the only reader of a node's output with its bias."""
    reader = only_reader(result_of(node))
    bounds = clip_bounds(reader) if reader is not None else None
    return reader if bounds is not None and bounds[0] == 0.0 else None


def clip_bounds(node: ir.Node) -> tuple[float, float] | None:
    """Lower and upper bound of a Relu or a Clip with constant bounds, else None."""
    if node.domain:
        return None
    if node.op_type == "Relu":
        return 0.0, float("inf")
    if node.op_type != "Clip":
        return None
    bounds = []
    for position, default in ((1, -np.inf), (2, np.inf)):
        value = node.inputs[position] if len(node.inputs) > position else None
        found = np.array(default) if value is None else constant(value)
        if found is None or found.size != 1:
            return None
        bounds.append(float(found.reshape(())))
    return bounds[0], bounds[1]


def passes_values(node: ir.Node) -> bool:
    """Whether all values of a node's output lie between values of its first input."""
    if node.domain or node.op_type not in PASS_THROUGH:
        return False
    return node.op_type != "Resize" or _leaves_range(node) is None


def gates(node: ir.Node) -> bool:
    """Whether an activation only serves to multiply its own input."""
    value = node.outputs[0]
    readers = [use.node for use in value.uses()]
    return bool(readers) and not value.is_graph_output() and all(map(is_gate, readers))


def is_gate(node: ir.Node, kinds: AbstractSet[str] = ACTIVATIONS) -> bool:
    """Whether a Mul multiplies a tensor by an activation of itself: SiLU, HardSwish and their kind.

    Args:
        node: any.
        kinds: activations that count.
    """
    if node.op_type != "Mul" or node.domain or len(node.inputs) != 2:
        return False
    for data, gate in (node.inputs, node.inputs[::-1]):
        producer = gate.producer() if gate is not None else None
        if producer is not None and producer.op_type in ACTIVATIONS & kinds and producer.inputs[0] is data:
            return True
    return False


def float_data(node: ir.Node) -> list[ir.Value]:
    """The float inputs of a node that carry data: constants and bounds left out."""
    count = len(node.inputs) if node.op_type in {"Concat", *ARITHMETIC} else 1
    return [v for v in node.inputs[:count] if v is not None and is_float(v)]


def has_constant_operand(node: ir.Node) -> bool:
    """Whether a node adds a constant to a tensor or multiplies it by one, and 8 bits hold the constant.

    One number is exact in 8 bits. A large one is a mask, whose range would leave no steps to the tensor.
    """
    if node.op_type not in ARITHMETIC or node.domain or len(node.inputs) != 2:
        return False
    found = [array for value in node.inputs if (array := constant(value)) is not None]
    if len(found) != 1 or found[0].size != 1 or found[0].dtype != np.float32:
        return False
    return bool(_LEAST_OPERAND < abs(found[0]) < _LEAST_MASK)


def connects(node: ir.Node, kernels: AbstractSet[str] = CONNECTING) -> str | None:  # noqa: C901, PLR0911  # a list of conditions, each with its reason
    """Why a node that is no compute node cannot run on integers; None when it can.

    Args:
        node: any.
        kernels: operators that have an integer kernel.
    """
    if node.domain:
        return f"{node.domain}.{node.op_type} is not an ONNX operator"
    if node.op_type in ACTIVATIONS - (kernels & SWISHES) and not (node.op_type in kernels and gates(node)):
        return f"{node.op_type} is computed in float between two quantizers"
    if node.op_type not in kernels:
        return f"{node.op_type} has no integer form"
    if is_gate(node) and not is_gate(node, kernels):
        return "a tensor times its own activation is computed in float between two quantizers"
    if any(constant(v) is not None for v in float_data(node)) and not has_constant_operand(node):
        return f"{node.op_type} has a constant operand"
    if any(map(is_overridable, node.inputs)):
        return f"{node.op_type} reads an initializer that a caller may replace"
    if not all(is_float(v) for v in (*node.inputs[:1], *node.outputs)):
        return f"{node.op_type} is not float32"
    if node.op_type == "Resize" and (why := _leaves_range(node)) is not None:
        return why
    if (why := wrongly_fused(node)) is not None:
        return why
    if node.op_type == "MaxPool" and len(node.outputs) > 1 and any(v.uses() for v in node.outputs[1:]):
        return "MaxPool's indices are read"
    return None


def wrongly_fused(node: ir.Node) -> str | None:
    """Why the kernel that ONNX Runtime puts in place of a node between quantizers does not compute the same.

    QLinearAveragePool has no dilations: the graph does not load. Where it rounds its size up and counts pads,
    it also counts what lies beyond the pads. (measured with ONNX Runtime 1.31)
    """
    if node.op_type != "AveragePool" or node.domain:
        return None
    if any(d != 1 for d in node.attributes.get_ints("dilations", [])):
        return "AveragePool with dilations has no integer kernel"
    if node.attributes.get_int("ceil_mode", 0) and node.attributes.get_int("count_include_pad", 0):
        return "AveragePool that rounds its size up and counts pads has no integer kernel"
    return None


def _leaves_range(resize: ir.Node) -> str | None:
    """Why a Resize can write values that do not lie between those of its input; None where it cannot."""
    if resize.attributes.get_string("mode", "nearest") == "cubic":
        return "a cubic Resize overshoots its input's range"
    if resize.attributes.get_string("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize":
        return "a Resize of a crop writes a value of its own outside its input"
    return None


def _plain_gemm(node: ir.Node) -> bool:
    bias = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    plain = node.attributes.get_float("alpha", 1.0) == 1.0 and (
        bias is None or node.attributes.get_float("beta", 1.0) == 1.0
    )
    return plain and not node.attributes.get_int("transA", 0) and (bias is None or bias.ndim == 1)
