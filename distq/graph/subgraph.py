"""Cut a network: run only what lies behind a tensor, from what crosses the cut."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property, lru_cache

import onnx
import onnxruntime

from distq.graph.fed import for_fed_numbers

_SMALL_BYTES = 1024


class Network:
    """An ONNX graph that can be cut; nodes are known by their position in the file."""

    def __init__(self, data: bytes) -> None:
        self.proto = onnx.load_model_from_string(data)
        graph = self.proto.graph
        self.nodes = list(graph.node)
        self.initializers = {t.name: t for t in graph.initializer}
        self.inputs: dict[str, onnx.ValueInfoProto] = {
            v.name: v for v in graph.input if v.name not in self.initializers
        }
        self.outputs = [v.name for v in graph.output]
        self.producer = {name: i for i, node in enumerate(self.nodes) for name in node.output if name}
        self.reads = [_reads(node) for node in self.nodes]
        """Tensors and initializers that each node reads."""
        self._readers: dict[str, list[int]] = {}
        for i, names in enumerate(self.reads):
            for name in names:
                self._readers.setdefault(name, []).append(i)
        # a search asks for the same few parts again and again
        self._behind = lru_cache(maxsize=None)(self._walk_on)
        self._before = lru_cache(maxsize=None)(self._walk_back)
        self._constants = lru_cache(maxsize=None)(self._read_constants)

    @cached_property
    def types(self) -> dict[str, onnx.TypeProto]:
        """ONNX type of every value as ONNX Runtime sees it, with the rank where that is known and not 0.

        Weights are inputs of what it is asked about: their values do not matter, and are slow to load.
        """
        listed = {v.name for v in self.proto.graph.input}
        constants = [t for name, t in self.initializers.items() if name not in listed]
        weights = [t for t in constants if not _is_small(t)]
        graph = onnx.helper.make_graph(
            self.nodes,
            "types",
            [
                *self.proto.graph.input,
                *(onnx.helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in weights),
            ],
            [onnx.helper.make_empty_tensor_value_info(name) for name in self.producer],
            [t for t in constants if _is_small(t)],
        )
        probe = onnx.helper.make_model(
            graph, opset_imports=list(self.proto.opset_import), ir_version=self.proto.ir_version
        )
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(
            probe.SerializeToString(), options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
        return {
            o.name: _type_proto(o.type, len(o.shape)) for o in (*session.get_inputs(), *session.get_outputs())
        }

    @cached_property
    def sources(self) -> list[list[int]]:
        """The nodes that write what each node reads."""
        return [[self.producer[name] for name in names if name in self.producer] for names in self.reads]

    def behind(self, tensors: Iterable[str]) -> frozenset[int]:
        """The nodes that write these tensors or read these initializers, and all that depend on them.

        A weight's DequantizeLinear goes with what reads it, so that ONNX Runtime finds the integer kernel.
        """
        return self._behind(tuple(tensors))

    def _walk_on(self, tensors: tuple[str, ...]) -> frozenset[int]:
        found: set[int] = set()
        todo = [
            i
            for name in tensors
            for i in ([self.producer[name]] if name in self.producer else self._readers.get(name, ()))
        ]
        while todo:
            i = todo.pop()
            if i in found:
                continue
            found.add(i)
            todo += [r for name in self.nodes[i].output for r in self._readers.get(name, ())]
        weights = {source for i in found for source in self.sources[i] if self._dequantizes_constant(source)}
        return frozenset(found | weights)

    def _dequantizes_constant(self, node: int) -> bool:
        return self.nodes[node].op_type == "DequantizeLinear" and self.reads[node][0] in self.initializers

    def readers(self, tensor: str) -> tuple[int, ...]:
        """The nodes that read a tensor."""
        return tuple(self._readers.get(tensor, ()))

    def before(self, tensors: Iterable[str], available: Collection[str] = ()) -> frozenset[int]:
        """The nodes that must run to have these tensors, when some are there already."""
        return self._before(tuple(tensors), frozenset(available))

    def _walk_back(self, tensors: tuple[str, ...], available: frozenset[str]) -> frozenset[int]:
        found: set[int] = set()
        todo = [t for t in tensors if t not in available]
        while todo:
            i = self.producer.get(todo.pop())
            if i is None or i in found:
                continue
            found.add(i)
            todo += [name for name in self.reads[i] if name not in available]
        return frozenset(found)

    def frontier(self, nodes: Collection[int]) -> tuple[str, ...]:
        """What these nodes read that they do not compute: it crosses the cut.

        Initializers left out; in file order.
        """
        own = {name for i in nodes for name in self.nodes[i].output}
        seen: dict[str, None] = {}
        for i in sorted(nodes):
            for name in self.reads[i]:
                if name not in own and name not in self.initializers:
                    seen[name] = None
        return tuple(seen)

    def reaches(self, nodes: Collection[int], output: str) -> bool:
        """Whether one of these nodes writes an output; an input or a constant can be an output too."""
        return self.producer.get(output) in nodes

    def constants_of(self, nodes: Iterable[int]) -> tuple[str, ...]:
        """Initializers these nodes read, sorted."""
        return self._constants(frozenset(nodes))

    def _read_constants(self, nodes: frozenset[int]) -> tuple[str, ...]:
        return tuple(sorted({name for i in nodes for name in self.reads[i] if name in self.initializers}))

    def extract(
        self,
        available: Collection[str],
        outputs: Sequence[str],
        numbers: Mapping[str, onnx.TensorProto],
        promote: Collection[str] = (),
    ) -> bytes:
        """The part that computes ``outputs`` from ``available`` tensors, as a model.

        Args:
            available: tensors that are fed.
            outputs: tensors wanted; one that is available is passed through by the caller, not here.
            numbers: values that replace initializers of the same name.
            promote: initializers that become inputs.
        """
        nodes = sorted(self.before(outputs, available))
        fed = list(self.frontier(nodes))
        ranked = any(self.nodes[i].op_type == "Shape" for i in nodes)
        initializers, inputs = [], [self._value_info(name, ranked=ranked) for name in fed]
        given = {name for name in outputs if name in self.initializers}
        for name in sorted({*self.constants_of(nodes), *given}):
            tensor = self.initializers[name]
            if name in promote:
                inputs.append(onnx.helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims)))
            else:
                initializers.append(numbers.get(name, tensor))
        graph = onnx.helper.make_graph(
            for_fed_numbers((self.nodes[i] for i in nodes), frozenset(promote)),
            "part",
            inputs,
            [
                self._value_info(o) if o in given else onnx.helper.make_empty_tensor_value_info(o)
                for o in outputs
            ],
            initializers,
        )
        model = onnx.helper.make_model(
            graph, opset_imports=list(self.proto.opset_import), ir_version=self.proto.ir_version
        )
        return bytes(model.SerializeToString())

    def _value_info(self, name: str, *, ranked: bool = False) -> onnx.ValueInfoProto:
        """A value's name and type; its rank only where asked for, as kernels are chosen by it.

        The shape of a tensor of unknown rank is empty to ONNX Runtime, and a Resize to it is refused.
        """
        if name in self.inputs:
            return self.inputs[name]
        if name in self.initializers:
            tensor = self.initializers[name]
            return onnx.helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims))
        kind = self.types[name]
        if ranked or not kind.HasField("tensor_type"):
            return onnx.helper.make_value_info(name, kind)
        return onnx.helper.make_value_info(
            name, onnx.helper.make_tensor_type_proto(kind.tensor_type.elem_type, None)
        )


def _reads(node: onnx.NodeProto) -> list[str]:
    """What a node reads, also from within its subgraphs."""
    return [*filter(None, node.input), *captured_names(node)]


def captured_names(node: onnx.NodeProto) -> list[str]:
    """What the graphs inside a node take from outside; each once, in the order they read it."""
    names = []
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            made = {name for inner in graph.node for name in inner.output}
            made |= {t.name for t in graph.initializer} | {v.name for v in graph.input}
            wanted = [name for inner in graph.node for name in _reads(inner)]
            names += [name for name in (*wanted, *(v.name for v in graph.output)) if name not in made]
    return list(dict.fromkeys(names))


def _type_proto(text: str, rank: int = 0) -> onnx.TypeProto:
    """The ONNX type that ONNX Runtime writes as ``tensor(uint8)`` or ``seq(tensor(float))``.

    A rank of 0 may also be one that is not known.
    """
    kind, _, inner = text.removesuffix(")").partition("(")
    if kind == "seq":
        return onnx.helper.make_sequence_type_proto(_type_proto(inner))
    if kind == "optional":
        return onnx.helper.make_optional_type_proto(_type_proto(inner))
    aliases = {"float": "FLOAT", "double": "DOUBLE"}
    element = onnx.TensorProto.DataType.Value(aliases.get(inner, inner.upper()))
    return onnx.helper.make_tensor_type_proto(element, [None] * rank or None)


def _is_small(tensor: onnx.TensorProto) -> bool:
    """Whether the value of a constant lies in the graph and is short."""
    return bool(tensor.data_location != onnx.TensorProto.EXTERNAL and tensor.ByteSize() <= _SMALL_BYTES)
