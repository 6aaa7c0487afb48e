"""A calibrated network with its samples on disk, and the run that a search would see."""

from __future__ import annotations

from functools import cache

import networks
import numpy as np
from networks import Quantized
from zoo import NETWORKS

from distq.config import TuneOptions
from distq.data.dataset import DatasetSpec
from distq.data.manifest import manifest
from distq.data.shards import Selection
from distq.engine.local import LocalExecutor
from distq.engine.progress import SilentReporter
from distq.graph.heads import parts, with_places
from distq.graph.names import Names
from distq.graph.subgraph import Network
from distq.replica.numbers import Numbers
from distq.replica.session import Session, fuse
from distq.replica.worker import Worker, WorkerSettings
from distq.run.context import Run
from distq.run.rundir import RunDir
from distq.run.samples import input_specs
from distq.stages.form import Form


def numbers_of(arrays=None, weights=None):
    """Constants as units carry them, where a model's bytes are their own handle."""
    return Numbers.of(arrays or {}, LocalExecutor(WorkerSettings()).share, weights)


class Crowd(LocalExecutor):
    """Says it has more workers than any run has forms."""

    workers = 8


def numbers(form):
    """Bytes of the weights and biases of a form."""
    state = form.state
    weights = {name: weight.integers.tobytes() for name, weight in state.weights.items()}
    return weights, {name: bias.tobytes() for name, bias in state.biases.items()}


class Bench:
    """A network, of the zoo or any other, quantized; its samples as an .npz; an executor in this process."""

    def __init__(
        self, folder, network, target="ort", scheme="auto", *, samples=3, cache_bytes=1 << 30, **plan
    ):
        """Take a folder to write to, and a name in the zoo or a network."""
        settings = WorkerSettings(cache_bytes=cache_bytes)
        self.folder = folder
        proto = NETWORKS[network]() if isinstance(network, str) else network
        self.loaded = networks.load(folder, proto)
        self.quantized = Quantized(self.loaded, target, scheme, samples=samples, **plan)
        self.plan, self.state, self.table = (
            self.quantized.plan,
            self.quantized.state,
            dict(self.quantized.table),
        )
        self.places = parts(self.loaded.model, self.plan)
        self.names = Names.free_in(self.loaded.model)
        self.executor = LocalExecutor(settings)
        self.worker = Worker(settings, fetch=lambda blob: blob.handle)
        self.float_model = self.executor.share(self.loaded.serialized())
        self.fused = fuse(self.quantized.exported, settings)
        self.network = Network(self.fused)
        self.blob = self.executor.share(self.fused)
        self.feeds = self.quantized.feeds
        self.indices = tuple(range(samples))
        np.savez(
            folder / "samples.npz", **{k: np.concatenate([f[k] for f in self.feeds]) for k in self.feeds[0]}
        )
        self.data = DatasetSpec.create(folder / "samples.npz", input_specs(self.loaded.model))

    @cache  # noqa: B019  # a bench lives as long as its test
    def exact_outputs(self):
        """The parts of the float outputs, for each sample."""
        data = with_places(self.loaded.serialized(), self.places)
        session = Session(data, self.worker.settings, float_network=True)
        return [session.run(feeds) for feeds in self.feeds]

    def run(self, unit):
        """A unit's result, on the executor."""
        return next(self.executor.run([unit]))[1]

    def cut(self, quantizer):
        """What crosses in front of a quantizer's tensors."""
        return self.network.frontier(self.network.behind(self.names.quantized(t) for t in quantizer.tensors))

    @property
    def form(self):
        """The network as calibrated."""
        return Form(self.loaded.model, self.plan, table=dict(self.table), state=self.state)

    def opened(self):
        """A tuning run whose tuning samples are all samples."""
        return Run(
            options=TuneOptions(
                model=self.loaded.path, data=self.folder / "samples.npz", out=self.folder / "run"
            ),
            reporter=SilentReporter(),
            rundir=RunDir(self.folder / "run"),
            loaded=self.loaded,
            plan=self.plan,
            data=self.data,
            selection=Selection(calibration=self.indices, tuning=self.indices, holdout=()),
            holdout_data=self.data,
            manifests=(manifest(self.data, self.indices), manifest(self.data, ())),
            journal=None,
            executor=self.executor,
            float_model=self.float_model,
            float_parts=self.executor.share(with_places(self.loaded.serialized(), self.places)),
            places=self.places,
        )
