"""Several models that a user's own code runs one behind another, quantized together."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from distq.cascades.models import CascadeModel, Models, open_models
from distq.cascades.recording import items_of
from distq.config import CalibrateOptions, TuneOptions
from distq.engine.progress import Reporter, SilentReporter
from distq.errors import UsageError
from distq.jobs.calibrate import calibrate
from distq.jobs.cascade import CascadeResult, Upstream, Wanted, quantize_cascade
from distq.jobs.tune import tune
from distq.options import make_options
from distq.run.python_data import most_items
from distq.run.rundir import RunDir
from distq.sweeps.runs import Verbs

__all__ = ["Cascade", "CascadeModel", "CascadeResult", "Models"]

FilePath = str | os.PathLike[str]

_GIVEN = frozenset({"model", "data", "out", "resume", "preprocess", "holdout_data", "stage_data"})


class Cascade:
    """Several models and what runs them one behind another.

        class Faces(distq.Cascade):
            def forward(self, photo):
                scores, boxes = self.models["proposals"](small(photo))
                crops = cut(photo, scores, boxes)
                return self.models["refine"](crops)

        faces = Faces({"proposals": "p.onnx", "refine": "r.onnx"})
        result = faces.tune(photos, out="RUN")      # RUN/proposals and RUN/refine
        faces.use_int8("RUN")
        faces.forward(photo)                        # with the INT8 networks

    ``forward`` runs in this process and may be any Python. A model takes arrays as in
    :meth:`distq.cascades.models.CascadeModel.__call__`, and returns the list of its outputs.

    Attributes:
        models: by name, or by position.
    """

    models: Models

    def __init__(self, models: Mapping[str, FilePath] | Sequence[FilePath]) -> None:
        """Read the models.

        Args:
            models: ONNX files or Caffe prototxts by name, or a list of them, which are then called as their
                files.

        Raises:
            ModelError: one cannot be read.
            UsageError: a name cannot be that of a folder.
        """
        if isinstance(models, Mapping):
            self.models = open_models({name: Path(path) for name, path in models.items()})
        else:
            self.models = open_models([Path(path) for path in models])

    def forward(self, *items: Any, **named: Any) -> object:  # noqa: ANN401  # what the user's data holds
        """Run the models on one item of the data; every cascade has its own.

        Args:
            items: an item, or the parts of one that is a tuple or list.
            named: the parts of an item that is a mapping.

        Raises:
            UsageError: it has not been written.
        """
        del items, named
        raise UsageError(f"{type(self).__name__} has no forward(self, item): write what runs its models")

    def calibrate(
        self,
        data: FilePath | Iterable[object],
        *,
        out: FilePath,
        upstream: Upstream = "int8",
        items: int | None = None,
        each: Mapping[str, Mapping[str, object]] | None = None,
        resume: bool = False,
        forward_on_workers: bool = False,
        reporter: Reporter | None = None,
        **options: object,
    ) -> CascadeResult:
        """Compute thresholds of every model on what reaches it, and export the INT8 networks.

        Args:
            data: Items for ``forward``: anything that gives them one by one, such as a generator, or the path
                of images, which become uint8 (H, W, 3) in BGR order. They are taken once and kept in
                ``inputs`` of ``out``: arrays, numbers and texts, tuples of these, or mappings.
            out: The folder to make. A model's run folder is the one of its name in it.
            upstream: What runs in front of a model while its samples are recorded: the ``int8`` networks, as
                later in use, or the ``float`` ones.
            items: Most that are taken; None: as many as the first model needs samples; 0: all.
            each: Options of single models, by name, which go before those of all.
            resume: Continue what is in ``out``.
            forward_on_workers: Whether the workers run ``forward`` too, several items at a time. It and what
                it uses travel there, and what it changes there stays there. Otherwise this process runs it.
            reporter: Told of progress, log lines and warnings; silent by default.
            **options: Any option of ``distq calibrate --help`` with underscores, for every model. ``samples``
                and ``holdout`` count what reaches a model, evenly over the items.

        Returns:
            The order of the models, and the result of each.

        Raises:
            InputError: A model, an item or an option cannot be used.
            ExecutionError: A work unit failed, also when tried again.
            InterruptedRun: Stopped by Ctrl-C; the same call with ``resume=True`` continues.
        """
        made = self._options(CalibrateOptions, Path(out), options, each or {})
        wanted = self._wanted(made, upstream, items, resume=resume, forward_on_workers=forward_on_workers)
        return self._quantize(data, wanted, reporter)

    def tune(
        self,
        data: FilePath | Iterable[object],
        *,
        out: FilePath,
        upstream: Upstream = "int8",
        items: int | None = None,
        each: Mapping[str, Mapping[str, object]] | None = None,
        resume: bool = False,
        forward_on_workers: bool = False,
        reporter: Reporter | None = None,
        **options: object,
    ) -> CascadeResult:
        """Calibrate every model on what reaches it, and search its thresholds.

        Takes, returns and raises what :meth:`calibrate` does, with the options of ``distq tune --help``.
        """
        made = self._options(TuneOptions, Path(out), options, each or {})
        wanted = self._wanted(made, upstream, items, resume=resume, forward_on_workers=forward_on_workers)
        return self._quantize(data, wanted, reporter)

    def use_int8(self, out: FilePath) -> None:
        """Have ``forward`` run the INT8 networks of a cascade's folder from here on.

        Raises:
            ModelError: a network is not there, or is of another model.
        """
        for model in self.models:
            model.use(RunDir(Path(out) / model.name).model)

    def use_float(self) -> None:
        """Have ``forward`` run the float networks again."""
        for model in self.models:
            model.use(None)

    def _options(
        self,
        kind: type[CalibrateOptions],
        out: Path,
        options: Mapping[str, object],
        each: Mapping[str, Mapping[str, object]],
    ) -> dict[str, CalibrateOptions]:
        """The options of every model.

        Raises:
            UsageError: one is wrong, or a name in ``each``.
        """
        for name in each:
            self.models[name]
        made = {}
        for model in self.models:
            run = RunDir(out / model.name)
            values = {**options, **each.get(model.name, {})}
            for name in sorted(_GIVEN & set(values)):
                raise UsageError(f"{name} is no option of a single model: a cascade gives it")
            made[model.name] = make_options(
                kind, {**values, "model": model.path, "data": run.data, "out": run.path}
            )
        return made

    def _wanted(
        self,
        made: Mapping[str, CalibrateOptions],
        upstream: Upstream,
        items: int | None,
        *,
        resume: bool,
        forward_on_workers: bool,
    ) -> Wanted:
        if upstream not in {"float", "int8"}:
            raise UsageError(f"upstream {upstream!r}: take 'int8' or 'float'")
        first = made[self.models[0].name]
        most = most_items(first) if items is None else items or None
        return Wanted(
            first.out.parent, made, upstream, most, resume=resume, forward_on_workers=forward_on_workers
        )

    def _quantize(
        self, data: FilePath | Iterable[object], wanted: Wanted, reporter: Reporter | None
    ) -> CascadeResult:
        if isinstance(data, str | os.PathLike):
            data, wanted = items_of(Path(data)), replace(wanted, items_again=True)
        if not isinstance(data, Iterable):
            raise UsageError(
                f"data is of type {type(data).__name__}, which gives no items one by one: give a list"
            )
        verbs = Verbs(calibrate, tune)
        return quantize_cascade(self.models, self.forward, data, wanted, verbs, reporter or SilentReporter())
