"""Random small graphs: operators of many kinds, shared constants, joined branches, odd names, old opsets.

:func:`random_graph` takes any ``random.Random``: hypothesis's own, which can be shrunk, or a seeded one.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import numpy as np
import onnx
from hypothesis import strategies as st
from networks import run_literally
from onnx import TensorProto, helper, numpy_helper
from random_elementwise import ELEMENTWISE
from random_inner import INNER
from random_operators import LAYERS, POINTWISE
from random_shapes import MOVING

from distq.replica.session import Session
from distq.replica.worker import WorkerSettings

NEWEST_OPSET = 23
MOST_ELEMENTS = 1500
MOST_TRIES = 4
KINDS = (*[POINTWISE] * 4, *[MOVING] * 3, *[ELEMENTWISE] * 3, *[INNER] * 2)
TYPES = {
    "f": TensorProto.FLOAT, "i": TensorProto.INT64, "b": TensorProto.BOOL, "h": TensorProto.FLOAT16,
    "d": TensorProto.DOUBLE,
}  # fmt: skip
SUFFIXES = (
    "_quantized",
    "_scale",
    "_zero_point",
    "_bias_quantized",
    "_DequantizeLinear",
    "_bias",
    "_0",
    "_1",
)


@dataclass(frozen=True)
class Value:
    """A tensor, with its sizes for a batch of 1 where the batch is open."""

    name: str
    shape: tuple[int, ...]
    kind: str = "f"


@dataclass
class Drawn:
    """A model and its samples, an array for each input as distq takes them."""

    model: onnx.ModelProto
    samples: dict[str, np.ndarray]
    open_batch: bool
    notes: list[str] = field(default_factory=list)

    def feeds(self, index):
        """What ONNX Runtime takes for one sample."""
        whole = {v.name: v.type.tensor_type.shape.dim for v in self.model.graph.input}
        rows = {name: array[index] for name, array in self.samples.items()}
        return {
            n: row[np.newaxis] if len(whole[n]) > row.ndim else np.asarray(row) for n, row in rows.items()
        }


class Growing:
    """A graph in the making."""

    def __init__(self, r):
        self.r = r
        self.rng = np.random.default_rng(r.randrange(2**16))
        self.opset = r.choice([13, 17, 21, *range(7, NEWEST_OPSET + 1)])
        self.naming = r.choice(["plain", "plain", "odd", "suffixes"])
        self.node_naming = r.choice(["blank", "plain", "slashes"])
        self.open_batch = False
        self.nodes_, self.initializers, self.values, self.inputs, self.functions = [], [], [], [], []
        self.weights: dict[tuple[int, ...], list[str]] = {}
        self.names: set[str] = set()
        self.small: set[str] = set()

    def new_name(self, stem="t"):
        plain = name = f"{stem}{len(self.names)}"
        if self.naming == "odd":
            name = self.r.choice(
                [f"/{plain}/a:0", str(len(self.names)), f" {plain} ", f"größe {plain}", plain, f"{plain}.w"]
            )
        elif self.naming == "suffixes" and self.names and self.r.random() < 0.5:
            name = self.r.choice(sorted(self.names)) + self.r.choice(SUFFIXES)
        name = plain if name in self.names else name
        self.names.add(name)
        return name

    def node(self, op, inputs, shape, *, kind="f", domain="", **attributes):
        return self.nodes(op, inputs, [(shape, kind)], domain=domain, **attributes)[0]

    def nodes(self, op, inputs, shapes, *, domain="", **attributes):
        """Append a node; ``shapes`` holds a shape, a shape and a kind, or None for each output."""
        read = [v.name if isinstance(v, Value) else v for v in inputs]
        pairs = [s if s is None or (len(s) == 2 and s[1] in TYPES) else (s, "f") for s in shapes]
        made = [None if p is None else Value(self.new_name(), tuple(p[0]), p[1]) for p in pairs]
        number = len(self.nodes_)
        name = {"blank": "", "plain": f"n{number}"}.get(self.node_naming, f"/{op}_{number}/é")
        written = ["" if v is None else v.name for v in made]
        self.nodes_.append(helper.make_node(op, read, written, name=name, domain=domain, **attributes))
        self.values += [v for v in made if v is not None]
        return made

    def constant(self, array):
        name, tensor = self.new_name("c"), None
        tensor = numpy_helper.from_array(np.asarray(array), name)
        if self.r.random() < 0.25:
            self.nodes_.append(helper.make_node("Constant", [], [name], value=tensor))
        else:
            self.initializers.append(tensor)
        return name

    def integers(self, *values):
        return self.constant(np.array(values, np.int64))

    def random(self, *shape):
        return self.constant(self.rng.normal(size=shape).astype(np.float32) * np.float32(0.5))

    def positive(self, *shape):
        return self.constant(self.rng.uniform(0.5, 1.5, shape).astype(np.float32))

    def weight(self, *shape):
        """A new one, or one of this shape that is there already; some channels may be zero or large."""
        known = self.weights.setdefault(shape, [])
        if known and self.r.random() < 0.4:
            return self.r.choice(known)
        fan = max(1, int(np.prod(shape)) // max(shape[:1], default=1)) if len(shape) > 2 else shape[0]
        array = self.rng.normal(size=shape) * fan**-0.5
        if shape and self.r.random() < 0.1:
            array[0] *= self.r.choice([0.0, 30.0])
        known.append(
            self._computed(array.astype(np.float32))
            if self.r.random() < 0.15
            else self.constant(array.astype(np.float32))
        )
        return known[-1]

    def _computed(self, array):
        """A constant that nodes compute from constants, as exporters leave it."""
        way = self.r.choice(["Transpose", "Cast", "Identity", "Mul", "Reshape", "Unsqueeze"])
        name = self.new_name("w")
        inputs, attributes = [], {}
        if way == "Transpose":
            inputs = [self.constant(np.ascontiguousarray(array.T))]
        elif way == "Cast":
            inputs, attributes = [self.constant(array.astype(np.float16))], {"to": TensorProto.FLOAT}
        elif way == "Mul":
            inputs = [self.constant(array), self.constant(np.float32(0.5))]
        elif way == "Reshape":
            inputs = [self.constant(array.ravel()), self.integers(*array.shape)]
        elif way == "Unsqueeze" and array.shape[:1] == (1,):
            more, attributes = self.axes([0], 13)
            inputs = [self.constant(array[0]), *more]
        else:
            way, inputs = "Identity", [self.constant(array)]
        self.nodes_.append(helper.make_node(way, inputs, [name], **attributes))
        return name

    def bias(self, channels):
        return self.r.choice([[], [""], [self.random(channels)], [self.random(channels)]])

    def axes(self, axes, since):
        """Axes as an input from an opset on, as an attribute before it."""
        return ([self.integers(*axes)], {}) if self.opset >= since else ([], {"axes": list(axes)})

    def total(self, v):
        """The sum of a value, a number."""
        return self.node("ReduceSum", [v], (), keepdims=0)


def _add_inputs(g):
    batch = g.r.choice(["N", "N", -1, 1, 1, 1, 2, 3])
    g.open_batch = isinstance(batch, str) or batch == -1
    rows = {}
    count = g.r.choice([1, 1, 1, 2, 2, 3])
    rank = g.r.choice([4, 4, 4, 3, 3, 2, 2, 5, 1, 0])
    for number in range(count):
        kind = "f" if number == 0 else g.r.choice(["f", "f", "f", "i", "b"])
        here = rank if g.r.random() < 0.7 else g.r.randint(0, 5)
        most = 6 if here < 5 else 3
        rest = [g.r.randint(1, most if i else 4) for i in range(here - 1)]
        told = [batch, *rest][:here]
        size = 1 if g.open_batch else batch
        shape = (size, *rest)[:here]
        value = Value(g.new_name("x"), shape, kind)
        g.inputs.append(helper.make_tensor_value_info(value.name, TYPES[kind], told))
        g.values.append(value)
        if kind == "i":
            g.small.add(value.name)
        whole = (4, *(shape[1:] if here and size == 1 else shape))
        made = g.rng.normal(size=whole) if kind == "f" else g.rng.integers(0, 2, whole)
        rows[value.name] = made.astype({"f": np.float32, "i": np.int64, "b": np.bool_}[kind])
    return rows


def _grow(g, count):
    for step in range(count):
        floats = [v for v in g.values if v.kind == "f" and np.prod(v.shape) <= MOST_ELEMENTS]
        if not floats:
            return
        value = floats[-1] if g.r.random() < 0.7 else g.r.choice(floats)
        pool = LAYERS if g.r.random() < (0.9 if step == 0 else 0.35) else g.r.choice(KINDS)
        next(filter(None, (g.r.choice(pool)(g, value) for _ in range(MOST_TRIES))), None)


def _outputs(g):
    read = {name for node in g.nodes_ for name in node.input}
    made = [v for v in g.values if v.name not in {i.name for i in g.inputs}]
    ends = [v for v in made if v.name not in read]
    more = [v for v in made if v.name in read and g.r.random() < 0.12]
    chosen = list(dict.fromkeys([*(ends[-4:] if g.r.random() < 0.7 else ends[-1:]), *more]))
    if g.r.random() < 0.04 and (known := [(n, s) for s, names in g.weights.items() for n in names]):
        chosen.append(Value(*g.r.choice(known)))
    if g.r.random() < 0.05:
        chosen.append(next(v for v in g.values if v.name == g.inputs[0].name))
    if chosen and g.r.random() < 0.03:
        chosen.append(chosen[0])
    return chosen


def random_graph(r: random.Random) -> Drawn:
    """A model that may be invalid, and its samples."""
    g = Growing(r)
    rows = _add_inputs(g)
    _grow(g, r.randint(2, 9))
    ends = []
    for value in _outputs(g):
        made = helper.make_tensor_value_info(value.name, TYPES[value.kind], [None] * len(value.shape))
        ends.append(next((i for i in g.inputs if i.name == value.name), made))
    listed = r.random() < 0.08
    given = [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in g.initializers if listed]
    if not listed and g.initializers and r.random() < 0.05:
        t = r.choice(g.initializers)
        given = [helper.make_tensor_value_info(t.name, t.data_type, t.dims)]
    graph = helper.make_graph(
        g.nodes_, r.choice(["graph", "größe", "a b"]), [*g.inputs, *given], ends, g.initializers
    )
    opsets = [helper.make_opsetid("", g.opset)] + [helper.make_opsetid("local", 1)] * bool(g.functions)
    ir_version = 3 if listed and g.opset < 9 else r.choice([8, 10]) if g.opset < 21 else 10
    model = helper.make_model(graph, opset_imports=opsets, ir_version=ir_version, functions=g.functions)
    if r.random() < 0.3:
        model.doc_string, model.graph.doc_string = "documentation", "of the graph"
        model.metadata_props.add(key="author", value="größe")
    if r.random() < 0.9:
        _declare(model)
    return Drawn(model, rows, g.open_batch)


def _declare(model):
    """Give outputs the shapes that onnx infers."""
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception:  # noqa: BLE001  # onnx raises several kinds; shapes stay open then
        return
    found = {v.name: v for v in reversed(inferred.graph.output)}  # of two of a name the first is inferred
    for end in model.graph.output:
        known = found[end.name]
        dims = known.type.tensor_type.shape.dim
        if known.type.tensor_type.HasField("shape") and all(d.dim_param or d.dim_value > 0 for d in dims):
            end.CopyFrom(known)


def float_results(drawn: Drawn) -> list[dict[str, np.ndarray]] | None:
    """Outputs of each sample; None where the model is not valid, does not run, or is not finite."""
    try:
        onnx.checker.check_model(drawn.model)
        count = len(next(iter(drawn.samples.values())))
        found = [run_literally(drawn.model, drawn.feeds(i)) for i in range(count)]
        run_optimized(drawn.model, drawn.feeds(0))
    except Exception as error:  # noqa: BLE001  # the checker's and ONNX Runtime's errors share no root
        drawn.notes.append(str(error))
        return None
    arrays = [a for outputs in found for a in outputs.values()]
    whole = all(
        np.isfinite(a).all() and np.abs(a.astype(np.float64)).max(initial=0) < 1e6
        for a in arrays
        if a.dtype.kind == "f"
    )
    return found if whole and arrays else None


def run_optimized(model, feeds):
    """Outputs by name, with all optimizers of ONNX Runtime that distq's sessions have."""
    session = Session(model.SerializeToString(), WorkerSettings(), fused=True)
    return dict(zip(session.outputs, session.run(feeds), strict=True))


random_graphs = st.randoms(use_true_random=False).map(random_graph)
