"""What users of a model see of it: inputs, outputs, and what is written beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx
import onnx_ir as ir

from distq.errors import ModelError

_Texts = tuple[str | None, Mapping[str, str]]


@dataclass(frozen=True)
class Interface:
    """The inputs and outputs of a model, and the texts beside them, to be given to another form of it.

    Attributes:
        inputs: with initializers listed as inputs.
        outputs: in order.
        texts: of the model and of its graph: documentation and properties.
        graph_name: of its graph.
    """

    inputs: tuple[ir.Value, ...]
    outputs: tuple[ir.Value, ...]
    texts: tuple[_Texts, _Texts]
    graph_name: str | None

    @classmethod
    def of(cls, model: ir.Model | onnx.ModelProto) -> Interface:
        """Take it from a model."""
        if isinstance(model, ir.Model):
            graph = model.graph
            own = (model.doc_string, dict(model.metadata_props))
            of_graph = (graph.doc_string, dict(graph.metadata_props))
            return cls(tuple(graph.inputs), tuple(graph.outputs), (own, of_graph), graph.name)
        own, of_graph = (
            (part.doc_string or None, {entry.key: entry.value for entry in part.metadata_props})
            for part in (model, model.graph)
        )
        inputs, outputs = (
            tuple(ir.serde.deserialize_value_info_proto(v, None) for v in values)
            for values in (model.graph.input, model.graph.output)
        )
        return cls(inputs, outputs, (own, of_graph), model.graph.name)

    def restore(self, model: ir.Model) -> None:
        """Give it to a model that has the same inputs and outputs by name.

        Types are those of the interface. So are dimensions, unless the model knows better: an open one stays
        open, but a size that contradicts what was inferred is replaced by it.

        Raises:
            ModelError: an input or output has another name.
        """
        (model.doc_string, of_model), (model.graph.doc_string, of_graph) = self.texts
        model.metadata_props.update(of_model)
        model.graph.metadata_props.update(of_graph)
        model.graph.name = self.graph_name
        wanted = {v.name: v for v in self.inputs}
        if not wanted.keys() >= {v.name for v in model.graph.inputs}:
            raise ModelError("an input got another name: this is a fault of distq, report it")
        if [v.name for v in self.outputs] != [v.name for v in model.graph.outputs]:
            raise ModelError("an output got another name: this is a fault of distq, report it")
        for value in model.graph.inputs:
            _annotate(value, wanted[value.name])
        for value, given in zip(model.graph.outputs, self.outputs, strict=True):
            _annotate(value, given)


def _annotate(value: ir.Value, given: ir.Value) -> None:
    value.doc_string = given.doc_string or None
    value.metadata_props.update(given.metadata_props)
    if given.type is not None:
        value.type = given.type
    if given.shape is not None:
        value.shape = _agreed(given.shape, value.shape)


def _agreed(given: ir.Shape, found: ir.Shape | None) -> ir.Shape:
    """The given shape, with sizes replaced that are negative or contradict the one found."""
    if found is None:
        return given
    if len(given) != len(found):
        return found
    dims = [
        f if isinstance(g, int) and (g < 0 or (isinstance(f, int) and g != f)) else g
        for g, f in zip(given, found, strict=True)
    ]
    return ir.Shape(dims, [given.get_denotation(i) for i in range(len(given))])
