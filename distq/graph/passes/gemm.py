"""Bring matrix products into the one form integer kernels have: Gemm with a bias of one value a column."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from distq.graph.edits import add_initializer, take_over
from distq.graph.values import constant


class MatMulToGemm(ir.passes.InPlacePass):
    """MatMul of a matrix with a constant matrix becomes Gemm, which has a bias to fold and to correct.

    * Both operands have two dimensions; the right one is a constant.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite each such node in place."""
        modified = False
        for node in list(model.graph):
            if node.op_type != "MatMul" or node.domain:
                continue
            left, weight = node.inputs[0], constant(node.inputs[1])
            if (
                left is None
                or left.shape is None
                or len(left.shape) != 2
                or weight is None
                or weight.ndim != 2
            ):
                continue
            gemm = ir.node("Gemm", list(node.inputs), {}, name=node.name)
            model.graph.insert_before(node, gemm)
            take_over(gemm.outputs[0], node)
            modified = True
        return ir.passes.PassResult(model, modified)


def _by_column(bias: npt.NDArray[np.float32], columns: int) -> bool:
    """Whether a bias has one value, or one a column; one a row or element stays in float."""
    return bias.size == 1 or bool(bias.shape[-1] == bias.size == columns)


class PlainGemm(ir.passes.InPlacePass):
    """Fold alpha and beta of a Gemm with constant weight and bias into them.

    * The bias is given one value for each column, as integer kernels want it.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite each such node in place."""
        modified = False
        for node in model.graph:
            if node.op_type != "Gemm" or node.domain:
                continue
            weight = constant(node.inputs[1])
            bias = constant(node.inputs[2]) if len(node.inputs) > 2 else None
            alpha, beta = node.attributes.get_float("alpha", 1.0), node.attributes.get_float("beta", 1.0)
            if weight is None or (len(node.inputs) > 2 and node.inputs[2] is not None and bias is None):
                continue
            columns = weight.shape[0 if node.attributes.get_int("transB", 0) else 1]
            wanted = (
                None
                if bias is None
                else np.broadcast_to(bias.reshape(-1) * np.float32(beta), (columns,))
                if _by_column(bias, columns)
                else None
            )
            if bias is not None and wanted is None:
                continue
            if alpha == beta == 1.0 and (bias is None or bias.shape == (columns,)):
                continue
            name = node.outputs[0].name
            node.replace_input_with(
                1,
                add_initializer(
                    model.graph, f"{name}_weight", (weight * np.float32(alpha)).astype(np.float32)
                ),
            )
            if wanted is not None:
                node.replace_input_with(
                    2, add_initializer(model.graph, f"{name}_bias", wanted.astype(np.float32))
                )
            node.attributes.pop("alpha", None)
            node.attributes.pop("beta", None)
            modified = True
        return ir.passes.PassResult(model, modified)
