"""Small networks with random weights; loading, quantizing by min and max, running and comparing them."""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from distq.calibration.histogram import Distribution
from distq.graph.load import LoadedModel, load_model
from distq.graph.placement import make_plan
from distq.graph.probes import with_outputs
from distq.graph.qdq import export
from distq.graph.rows import encodings
from distq.graph.state import initial_state
from distq.replica.session import Session
from distq.replica.worker import WorkerSettings
from distq.stages.thresholds import calibrated_table
from distq.targets import find_target

SETTINGS = WorkerSettings()


class Builder:
    """Collects nodes and random constants; unnamed tensors are numbered."""

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)
        self.nodes = []
        self.initializers = {}

    def constant(self, array, name=None):
        name = name or f"c{len(self.initializers)}"
        self.initializers[name] = np.asarray(array)
        return name

    def random(self, *shape, scale=1.0, name=None):
        return self.constant((self.rng.normal(size=shape) * scale).astype(np.float32), name)

    def positive(self, *shape, name=None):
        return self.constant(self.rng.uniform(0.5, 1.5, shape).astype(np.float32), name)

    def node(self, op, *inputs, output=None, name="", outputs=1, domain=None, **attributes):
        """Append a node; gives the name of its first output."""
        first = output or f"t{len(self.nodes)}"
        names = [first, *(f"{first}_{i}" for i in range(1, outputs))]
        self.nodes.append(helper.make_node(op, inputs, names, name=name, domain=domain, **attributes))
        return first

    def conv(self, data, channels, *, kernel=3, bias=True, output=None, name="", **attributes):
        """A Conv with padding that keeps the size, unless told otherwise; channels is (in, out)."""
        group = attributes.get("group", 1)
        fan = channels[0] // group * kernel * kernel
        inputs = [data, self.random(channels[1], channels[0] // group, kernel, kernel, scale=fan**-0.5)]
        if bias:
            inputs.append(self.random(channels[1], scale=0.1))
        attributes.setdefault("pads", [kernel // 2] * 4)
        return self.node("Conv", *inputs, output=output, name=name, **attributes)

    def batch_norm(self, data, channels, *, output=None, **attributes):
        parts = [
            self.positive(channels),
            self.random(channels),
            self.random(channels),
            self.positive(channels),
        ]
        return self.node("BatchNormalization", data, *parts, output=output, **attributes)

    def model(self, inputs, outputs, opset=13, *, listed=False, domains=()):
        """The network; outputs have shapes where they cannot be inferred.

        ``listed``: the initializers are inputs too, as before IR version 4.
        """
        feeds = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()
        ]
        tensors = [numpy_helper.from_array(array, name) for name, array in self.initializers.items()]
        if listed:
            feeds += [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in tensors]
        shapes = outputs if isinstance(outputs, dict) else {}
        ends = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name])
            if name in shapes
            else helper.make_empty_tensor_value_info(name)
            for name in outputs
        ]
        graph = helper.make_graph(self.nodes, "network", feeds, ends, tensors)
        opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
        ir_version = 3 if listed else 10 if opset >= 21 else 8
        proto = helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)
        for end, known in zip(
            proto.graph.output, onnx.shape_inference.infer_shapes(proto).graph.output, strict=True
        ):
            if known.HasField("type"):
                end.CopyFrom(known)
        return proto


def write(folder: Path, proto: onnx.ModelProto) -> Path:
    path = folder / "network.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def load(folder: Path, proto: onnx.ModelProto) -> LoadedModel:
    return load_model(write(folder, proto))


def feeds_of(proto, seed=0, batch=1):
    """Normal values for every true input; a symbolic dimension gets ``batch``."""
    rng = np.random.default_rng(seed)
    given = {t.name for t in proto.graph.initializer}
    return {
        value.name: rng.normal(size=[d.dim_value or batch for d in value.type.tensor_type.shape.dim]).astype(
            np.float32
        )
        for value in proto.graph.input
        if value.name not in given
    }


def run_literally(model, feeds):
    """Outputs by name, every node run as it is written."""
    data = model if isinstance(model, bytes) else model.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds), strict=True))


def assert_computes_the_same(loaded, proto, batch=1):
    """The canonical model has the given one's inputs and outputs, by name, and computes what that does."""
    feeds = feeds_of(proto, batch=batch)
    assert [value.name for value in loaded.model.graph.inputs] == list(feeds)
    wanted, found = run_literally(proto, feeds), run_literally(loaded.serialized(), feeds)
    assert list(found) == list(wanted)
    for name, array in wanted.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-5)


def node_types(loaded):
    return [node.op_type for node in loaded.model.graph]


def sqnr(found, wanted):
    """Signal to noise of all outputs together, dB."""
    noise = sum(float(np.sum((a.astype(float) - b) ** 2)) for a, b in zip(found, wanted, strict=True))
    power = sum(float(np.sum(b.astype(float) ** 2)) for b in wanted)
    return math.inf if noise == 0 else 10 * math.log10(power / noise)


class Quantized:
    """A network calibrated by min and max on a few random samples."""

    def __init__(
        self,
        loaded,
        target="ort",
        scheme="auto",
        *,
        samples=4,
        batch=1,
        weight_bits="auto",
        **plan_options,
    ):
        self.loaded = loaded
        self.plan = make_plan(loaded.model, find_target(target, weight_bits), scheme, **plan_options)
        proto = onnx.load_model_from_string(loaded.serialized())
        self.feeds = [feeds_of(proto, seed, batch) for seed in range(samples)]
        self.table = calibrated_table(self.plan, self.distributions(), "max", 2048)
        self.state = initial_state(loaded.model, self.plan, encodings(self.plan, self.table))

    def distributions(self):
        names = [q.name for q in self.plan.in_table]
        session = Session(with_outputs(self.loaded.model, names), SETTINGS)
        found = {name: Distribution.empty() for name in names}
        for feeds in self.feeds:
            values = {**feeds, **dict(zip(session.outputs, session.run(feeds), strict=True))}
            for name in names:
                found[name].add(Distribution.of(values[name]))
        return found

    def export(self, state=None):
        return export(self.loaded.model, self.plan, state or self.state)

    @cached_property
    def exported(self):
        return self.export()

    def sqnr(self):
        """Of the exported model, fused, against float, over the calibration samples, dB."""
        exact = Session(self.loaded.serialized(), SETTINGS)
        model = Session(self.exported, SETTINGS, fused=True)
        found = [o for feeds in self.feeds for o in model.run(feeds)]
        return sqnr(found, [o for feeds in self.feeds for o in exact.run(feeds)])
