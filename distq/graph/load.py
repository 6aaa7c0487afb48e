"""Bring a user's ONNX file into the one form the rest of distq works on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import onnx
import onnx_ir as ir
import onnx_ir.passes.common as common_passes

from distq.errors import ModelError
from distq.graph.aliases import aliases, outline
from distq.graph.convert import converted
from distq.graph.interface import Interface
from distq.graph.large import from_proto, put_away, serialized
from distq.graph.passes.affine import AffineToConv, BatchNormToConv, FoldAffine
from distq.graph.passes.arithmetic import PlainArithmetic
from distq.graph.passes.constants import FoldConstants
from distq.graph.passes.einsum import PlainEinsum
from distq.graph.passes.gemm import MatMulToGemm, PlainGemm
from distq.graph.passes.linear import PlainLinear
from distq.graph.passes.neutral import DropNeutral
from distq.graph.passes.open_sizes import open_negative_sizes, restore_sizes
from distq.graph.passes.overridable import FixWeights
from distq.graph.passes.pad import PadAllAxes, PadIntoConv
from distq.graph.passes.pool import MeanToPool, PlainPool
from distq.graph.passes.products import PlainProducts
from distq.graph.passes.reshaped_bias import BiasBeforeReshape
from distq.graph.passes.resize import CubicOfRows, ResizeAllAxes, ResizeInPlace
from distq.graph.passes.swish import WholeSwish
from distq.graph.passes.tidy import DropIdentities, DropIdle, DropUnused, NameNodes
from distq.graph.passes.unread import EmptyUnread
from distq.graph.plain import make_plain
from distq.graph.read import Reader, nodes_in, opset_of, quantized_operator, read_onnx
from distq.graph.shapes import infer_shapes, settle_outputs
from distq.graph.widened import widened
from distq.memory import out_of_memory

OLDEST_OPSET = 7
LEAST_OPSET = 13
"""QuantizeLinear has an axis from here on."""

RUNTIME_DOMAINS = frozenset(
    {"", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training", "com.microsoft"}
    | {"com.microsoft.nchwc", "com.ms.internal.nhwc", "com.microsoft.experimental"}
)
"""Domains of the operators that ONNX Runtime has."""

OPTIONAL_STEPS: dict[str, Callable[[], ir.passes.InPlacePass]] = {
    "DropIdle": DropIdle,
    "DropIdentities": DropIdentities,
    "FoldConstants": FoldConstants,
    "PlainEinsum": PlainEinsum,
    "PlainProducts": PlainProducts,
    "DropNeutral": DropNeutral,
    "WholeSwish": WholeSwish,
    "MatMulToGemm": MatMulToGemm,
    "BiasBeforeReshape": BiasBeforeReshape,
    "PlainLinear": PlainLinear,
    "FoldAffine": FoldAffine,
    "PlainGemm": PlainGemm,
    "BatchNormToConv": BatchNormToConv,
    "AffineToConv": AffineToConv,
    "PlainArithmetic": PlainArithmetic,
    "PlainPool": PlainPool,
    "MeanToPool": MeanToPool,
    "PadAllAxes": PadAllAxes,
    "PadIntoConv": PadIntoConv,
    "ResizeAllAxes": ResizeAllAxes,
    "CubicOfRows": CubicOfRows,
    "ResizeInPlace": ResizeInPlace,
    "EmptyUnread": EmptyUnread,
}
"""The rewrites, in order; each says in its docstring what it does. None has to be."""


@dataclass(frozen=True)
class LoadedModel:
    """A float model in canonical form.

    ``model`` is the canonical one: opset 13 or newer, constants and shapes folded, BatchNormalization folded,
    every node named; inputs, outputs and annotations are those of the file. ``sha256`` is the file's.
    ``without`` names the steps of ``OPTIONAL_STEPS`` that were left out. ``read`` reads the file again, and
    ``notes`` are what reading it has to say. ``aliases`` has what names of the file mean that are no longer
    there (:mod:`distq.graph.aliases`). ``ungrouped`` is the model before convolutions of it were put in
    groups; None where none were.
    """

    path: Path
    sha256: str
    model: ir.Model
    without: frozenset[str] = frozenset()
    read: Reader = read_onnx
    notes: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    ungrouped: ir.Model | None = None

    def as_loaded(self) -> LoadedModel:
        """The model as the file has it, its convolutions not in groups."""
        return self if self.ungrouped is None else replace(self, model=self.ungrouped, ungrouped=None)

    def serialized(self) -> bytes:
        """The canonical float model as ONNX bytes."""
        return serialized(self.model)


class _StepFailedError(Exception):
    """An optional step raised; its name is the argument."""


def load_model(
    path: Path,
    without: Collection[str] = (),
    read: Reader = read_onnx,
    on_nodes: Callable[[int], object] = int,
) -> LoadedModel:
    """Read, check, upgrade and fold a model.

    Args:
        path: of the model's file.
        without: names of ``OPTIONAL_STEPS`` to leave out. One that raises is left out as well.
        read: reads the file; for formats other than ONNX see :mod:`distq.exchange.model_file`.
        on_nodes: is told how many nodes the file has, before the rest, which takes time for each.

    Raises:
        ModelError: missing, corrupt, older than opset 7, already quantized, or of a kind that cannot be kept.
        UsageError: a shape that no input can have.
    """
    read = widened(read)
    given = read(path)
    proto = given.proto
    on_nodes(len(proto.graph.node))
    _require_float(path, proto)
    _require_known_types(path, proto)
    interface = Interface.of(proto)
    left_out = frozenset(without)
    nodes = outline(proto)
    try:
        proto = make_plain(proto)
        _require_known_operators(path, proto)
        proto = _upgrade(path, proto, LEAST_OPSET)
        while True:
            try:
                model = canonical(proto, left_out)
                break
            except _StepFailedError as error:
                left_out |= {str(error)}
        interface.restore(model)
        put_away(model)
    except ModelError:
        raise
    except MemoryError as error:
        raise ModelError(out_of_memory(f"{path} cannot be read", error)) from error
    except Exception as error:  # a model from outside can break a library in any way
        reason = str(error).strip().split("\n")[0]
        raise ModelError(
            f"{path} holds what distq cannot read: {reason}; export it in another way"
        ) from error
    return LoadedModel(path, given.sha256, model, left_out, read, given.notes, aliases(nodes, model))


def canonical(proto: onnx.ModelProto, without: Collection[str] = ()) -> ir.Model:
    """The steps, in order.

    Args:
        proto: as ``plain.make_plain`` gives it, at opset 13 or newer.
        without: optional steps to leave out.
    """
    model = from_proto(proto)
    stored = open_negative_sizes(model)
    FixWeights()(model)
    common_passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    settle_outputs(model)
    for name, step in OPTIONAL_STEPS.items():
        if name in without:
            continue
        try:
            step()(model)
        except Exception as error:
            raise _StepFailedError(name) from error
    for step in (
        DropUnused,
        common_passes.TopologicalSortPass,
        NameNodes,
    ):
        step()(model)
    model = infer_shapes(model)
    restore_sizes(model, stored)
    model.ir_version = max(model.ir_version or 0, 10 if model.opset_imports[""] >= 21 else 8)
    return model


def _require_float(path: Path, proto: onnx.ModelProto) -> None:
    opset = opset_of(proto)
    if opset < OLDEST_OPSET:
        raise ModelError(f"{path} has opset {opset}: export it again with opset {OLDEST_OPSET} or newer")
    operator = quantized_operator(proto)
    if operator is not None:
        raise ModelError(
            f"{path} is quantized already, it has {operator}: give the float model it was made from"
        )


def _require_known_types(path: Path, proto: onnx.ModelProto) -> None:
    """Refuse maps, which no later step can carry, and inputs that no sample can be compared with.

    Raises:
        ModelError: an input or output is a map or a sequence of maps, or an input has no shape or is text.
    """
    for value in (*proto.graph.input, *proto.graph.output):
        element = value.type.sequence_type.elem_type if value.type.HasField("sequence_type") else value.type
        if element.HasField("map_type"):
            raise ModelError(f"{path}: {value.name} is a map: export the model without ZipMap")
    for value in proto.graph.input:
        if value.type.tensor_type.elem_type == onnx.TensorProto.STRING:
            raise ModelError(
                f"{path}: input {value.name} is text: "
                "cut the model behind what makes numbers of it, and give these"
            )
        if value.type.HasField("tensor_type") and not value.type.tensor_type.HasField("shape"):
            raise ModelError(
                f"{path}: input {value.name} has no shape: export it with all dimensions, open ones by a name"
            )


def _require_known_operators(path: Path, proto: onnx.ModelProto) -> None:
    """Refuse operators of other runtimes; distq runs networks in ONNX Runtime and loads no libraries for it.

    Raises:
        ModelError: naming the operator.
    """
    for node in nodes_in(proto):
        if node.domain not in RUNTIME_DOMAINS:
            raise ModelError(
                f"{path}: {node.domain}.{node.op_type} is no operator of ONNX Runtime: export the model with "
                "standard operators, or with a function that says what it computes"
            )


def _upgrade(path: Path, proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    try:
        return converted(proto, opset)
    except Exception as error:  # the converter raises RuntimeError, IndexError and its own
        reason = str(error).strip().split("\n")[0]
        raise ModelError(
            f"{path} cannot be brought to opset {opset}: {reason}; export it with opset {opset}"
        ) from error
