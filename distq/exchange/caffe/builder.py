"""An ONNX graph that grows layer by layer, with the shape of every tensor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import helper, numpy_helper

from distq.exchange.caffe.network import Layer
from distq.exchange.caffe.weights import Blob

OPSET, IR_VERSION, PRODUCER = 13, 8, "distq"
Shape = tuple[int, ...]
BATCH = "batch"
_SMALL = 4096
"""Numbers in a constant that decides shapes, at most."""
Attribute = str | int | float | Sequence[int]


@dataclass
class Builder:
    """Nodes, weights and shapes.

    Shapes have the batch that the prototxt declares. ``fixed_by`` is the first layer that computes across
    samples or stores a batch size; without one the batch can be left open.
    """

    shapes: dict[str, Shape]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    fixed_by: Layer | None = None
    tensors: set[str] = field(default_factory=set)
    named: set[str] = field(default_factory=set)

    def shape(self, layer: Layer, position: int = 0) -> Shape:
        """Of a layer's input."""
        return self.shapes[layer.bottoms[position]]

    def add(
        self,
        layer: Layer,
        operator: str,
        inputs: Sequence[str],
        shape: Shape,
        *,
        output: str | None = None,
        **attributes: Attribute,
    ) -> str:
        """Append a node.

        Args:
            layer: which it is of.
            operator: of the ONNX standard.
            inputs: tensors; '' for one that is left out.
            shape: of its output.
            output: the layer's top that it writes; None: a tensor inside the layer, named after it.
            attributes: of the operator.

        Returns:
            The output tensor.
        """
        return self.add_all(layer, operator, inputs, [(shape, output)], **attributes)[0]

    def add_all(
        self,
        layer: Layer,
        operator: str,
        inputs: Sequence[str],
        results: Sequence[tuple[Shape, str | None]],
        **attributes: Attribute,
    ) -> list[str]:
        """As :meth:`add`, with several outputs: the shape of each, and its name or None."""
        names = [name or _free(f"{layer.name}/{operator}", self.tensors) for _, name in results]
        node = _free(layer.name if layer.tops[0] in names else names[0], self.named)
        self.nodes.append(helper.make_node(operator, [*inputs], names, node, None, None, None, **attributes))
        for name, (shape, _) in zip(names, results, strict=True):
            if min(shape, default=1) < 1:
                raise layer.error(f"would give {list(shape)}: its input is too small for it")
            self.shapes[name] = shape
        return names

    def constant(self, layer: Layer, role: str, values: ArrayLike) -> str:
        """Store weights; returns their tensor's name. Python and float64 numbers become float32."""
        array = np.asarray(values)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        name = _free(f"{layer.name}/{role}", self.tensors)
        self.weights[name] = array
        self.shapes[name] = array.shape
        return name

    def reshape(self, layer: Layer, source: str, shape: Shape, output: str | None = None) -> str:
        """Change the shape of a tensor that keeps its samples apart; the batch stays open."""
        given = self.shapes[source]
        if given and shape and given[0] == shape[0]:
            target = (0, *shape[1:])
        else:
            self.fix_batch(layer)
            target = shape
        sizes = self.constant(layer, "shape", np.asarray(target, np.int64))
        return self.add(layer, "Reshape", [source, sizes], shape, output=output)

    def fix_batch(self, layer: Layer) -> None:
        """Note that a layer needs the declared batch."""
        self.fixed_by = self.fixed_by or layer

    def blob(self, layer: Layer, position: int, shape: Shape, what: str) -> Blob:
        """One of the layer's own weights, in the shape that the prototxt asks for.

        Raises:
            ModelError: the caffemodel has it not, or in another size.
        """
        if position >= len(layer.blobs):
            raise layer.error(
                f"has no {what} in the weights: give the .caffemodel that was trained with this prototxt"
            )
        stored = layer.blobs[position]
        if stored.size != prod(shape):
            raise layer.error(
                f"needs {what} of shape {list(shape)}, the weights have {list(stored.shape)}: "
                "give the .caffemodel that was trained with this prototxt"
            )
        return stored.reshape(shape)

    def model(self, inputs: Iterable[str], outputs: Mapping[str, str], name: str) -> onnx.ModelProto:
        """The finished model, with an open batch where no layer forbids it.

        Args:
            inputs: tensors.
            outputs: names of the model's outputs, and the tensors that they are; a copy where these differ.
            name: of the graph.
        """
        for output, tensor in outputs.items():
            if output != tensor:
                node = _free(output, self.named)
                self.nodes.append(helper.make_node("Identity", [tensor], [output], name=node))
        used = {source for node in self.nodes for source in node.input}
        weights = {key: array for key, array in self.weights.items() if key in used}
        batches = {self.shapes[tensor][0] for tensor in inputs}
        batch = BATCH if self.fixed_by is None and len(batches) == 1 else None
        given = [
            _value(tensor, (batch or self.shapes[tensor][0], *self.shapes[tensor][1:])) for tensor in inputs
        ]
        found = self._output_values(given, weights, outputs)
        initializers = [numpy_helper.from_array(array, key) for key, array in weights.items()]
        return _model(helper.make_graph(self.nodes, name or "caffe", given, found, initializers))

    def _output_values(
        self,
        given: Sequence[onnx.ValueInfoProto],
        weights: Mapping[str, NDArray[np.generic]],
        outputs: Mapping[str, str],
    ) -> list[onnx.ValueInfoProto]:
        """The outputs with their shapes, inferred without the numbers of large weights."""
        large = {key for key, array in weights.items() if array.size > _SMALL}
        small = [numpy_helper.from_array(array, key) for key, array in weights.items() if key not in large]
        shapes = [_value(key, weights[key].shape) for key in large]
        unknown = [helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, None) for output in outputs]
        graph = helper.make_graph(self.nodes, "shapes", [*given, *shapes], unknown, small)
        found = list(onnx.shape_inference.infer_shapes(_model(graph)).graph.output)
        for value, tensor in zip(found, outputs.values(), strict=True):
            if not value.type.tensor_type.HasField("shape"):
                sizes = [onnx.TensorShapeProto.Dimension() for _ in self.shapes[tensor]]
                value.type.tensor_type.shape.dim.extend(sizes)
        return found


def _value(name: str, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)


def _model(graph: onnx.GraphProto) -> onnx.ModelProto:
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name=PRODUCER)


def _free(name: str, taken: set[str]) -> str:
    """The name, with a number where it is taken; it is taken from now on."""
    found, counter = name, 1
    while found in taken:
        found, counter = f"{name}_{counter}", counter + 1
    taken.add(found)
    return found
