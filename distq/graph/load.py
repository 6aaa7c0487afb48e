"""Read a user's ONNX file and bring it into the one form the rest of distq works on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx.version_converter
import onnx_ir as ir
import onnx_ir.passes.common as common_passes
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf ships no types

from distq.errors import ModelError
from distq.files import sha256_bytes
from distq.graph.passes.affine import BatchNormToConv, FoldAffine
from distq.graph.passes.constants import FoldConstants, infer_shapes
from distq.graph.passes.gemm import MatMulToGemm, PlainGemm
from distq.graph.passes.tidy import DropIdentities, DropIdle, NameNodes

OLDEST_OPSET = 7
LEAST_OPSET = 13
"""QuantizeLinear has an axis from here on."""


@dataclass(frozen=True)
class LoadedModel:
    """A float model in canonical form.

    ``proto`` is the model as given, ``model`` the canonical one: opset 13 or newer, constants and shapes
    folded, BatchNormalization folded, every node named. ``sha256`` is the file's.
    """

    path: Path
    sha256: str
    model: ir.Model

    def serialized(self) -> bytes:
        """The canonical float model as ONNX bytes."""
        return bytes(ir.to_proto(self.model).SerializeToString())


def load_model(path: Path) -> LoadedModel:
    """Read, check, upgrade and fold a model.

    Raises:
        ModelError: missing, corrupt, older than opset 7, or already quantized.
    """
    proto, sha256 = read_proto(path)
    opset = next((o.version for o in proto.opset_import if o.domain in {"", "ai.onnx"}), 0)
    if opset < OLDEST_OPSET:
        raise ModelError(f"{path} has opset {opset}: export it again with opset {OLDEST_OPSET} or newer")
    if any(
        node.op_type in {"QuantizeLinear", "DequantizeLinear", "QLinearConv"} for node in proto.graph.node
    ):
        raise ModelError(f"{path} is quantized already: give the float model it was made from")
    if opset > onnx.defs.onnx_opset_version():
        newest = onnx.defs.onnx_opset_version()
        raise ModelError(
            f"{path} has opset {opset}, newer than the onnx package: export it with opset {newest}"
        )
    upgraded_proto = _upgrade(path, proto, max(opset, LEAST_OPSET))
    try:
        return LoadedModel(path, sha256, canonical(upgraded_proto))
    except Exception as error:  # a damaged model can break a pass in any way
        reason = str(error).strip().split("\n")[0]
        raise ModelError(
            f"{path} is damaged or holds what distq cannot read: {reason}; export it again"
        ) from error


def read_proto(path: Path) -> tuple[onnx.ModelProto, str]:
    """Read and check an ONNX file with its external data.

    Returns:
        The model and the SHA-256 of the file, or of the model put together where data lies beside it.

    Raises:
        ModelError: missing or corrupt.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"cannot read the model {path}: {error.strerror}; give the path of an ONNX file"
        ) from error
    try:
        proto = onnx.load_model_from_string(data)
        alone = proto.ByteSize()
        onnx.load_external_data_for_model(proto, str(path.parent))
        onnx.checker.check_model(proto)
    except (DecodeError, onnx.checker.ValidationError, ValueError, OSError, RuntimeError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ModelError(f"{path} is not a valid ONNX model: {reason}; export it again") from error
    if not proto.graph.node:
        raise ModelError(f"{path} is not an ONNX model, or has no nodes: export it again")
    if proto.ByteSize() != alone:
        data = proto.SerializeToString(deterministic=True)
    return proto, sha256_bytes(data)


def canonical(proto: onnx.ModelProto) -> ir.Model:
    """The passes, in order; each says in its docstring what it does."""
    model = ir.from_proto(proto)
    common_passes.InlinePass()(model)
    common_passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    common_passes.RemoveInitializersFromInputsPass()(model)
    for step in (
        DropIdle(),
        DropIdentities(),
        FoldConstants(),
        MatMulToGemm(),
        FoldAffine(),
        PlainGemm(),
        BatchNormToConv(),
        common_passes.RemoveUnusedNodesPass(),
        common_passes.TopologicalSortPass(),
        NameNodes(),
    ):
        step(model)
    model = infer_shapes(model)
    model.ir_version = max(model.ir_version or 0, 10 if model.opset_imports[""] >= 21 else 8)
    return model


def upgraded(model: ir.Model, opset: int) -> ir.Model:
    """The model at a newer opset; the same model when it is there already."""
    if model.opset_imports[""] >= opset:
        return model
    proto = onnx.version_converter.convert_version(ir.to_proto(model), opset)
    proto.ir_version = max(proto.ir_version, 10 if opset >= 21 else 8)
    return ir.from_proto(proto)


def _upgrade(path: Path, proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    if next(o.version for o in proto.opset_import if o.domain in {"", "ai.onnx"}) == opset:
        return proto
    try:
        return onnx.version_converter.convert_version(proto, opset)
    except Exception as error:  # the converter raises RuntimeError, IndexError and its own
        reason = str(error).strip().split("\n")[0]
        raise ModelError(
            f"{path} cannot be brought to opset {opset}: {reason}; export it with opset {opset}"
        ) from error
