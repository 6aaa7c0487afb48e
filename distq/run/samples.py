"""The samples of a run: described for the model that takes them, and given their roles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir

from distq.config import CalibrateOptions, CommonOptions, TuneOptions
from distq.data.dataset import DatasetSpec, InputSpec
from distq.data.input_config_file import read_input_config
from distq.data.remote import IN_THIS_PROCESS
from distq.data.shards import DEFAULT_HOLDOUT, Selection, select
from distq.data.staging import plan_stage
from distq.engine.progress import Reporter
from distq.errors import UsageError
from distq.graph.load import LoadedModel
from distq.graph.values import numpy_dtype
from distq.run.given_data import GivenData, given_data
from distq.run.states import States, run_steps, states_of
from distq.urls import url_of

MOST_COMPARED = DEFAULT_HOLDOUT
"""Calibration samples, the first ones, that ``calibrate`` compares its model with float on.

All of them would be a second pass over the data, for a figure that the held-out samples give more honestly.
"""

LEAST_PARTED = 16
"""Calibration samples from which a search leaves half of them to confirm by, at most."""


def prepare_data(
    options: CalibrateOptions, loaded: LoadedModel, reporter: Reporter
) -> tuple[DatasetSpec, DatasetSpec, Selection]:
    """Open the data and give the samples their roles; those of a recurrent model are recorded with states.

    Returns:
        The data, the data that is held out (maybe the same), and which samples of them do what.

    Raises:
        UsageError: there is no ``--data``, nor a data layer that names some; or ``--state`` is wrong.
        DataError: it cannot be used.
    """
    data, holdout_data, states = described_data(options, loaded)
    if states is not None:
        data, holdout_data = run_steps(options, states, data, holdout_data, reporter)
    return data, holdout_data, choose_samples(options, data, holdout_data)


def described_data(
    options: CalibrateOptions, loaded: LoadedModel
) -> tuple[DatasetSpec, DatasetSpec, States | None]:
    """The data as the user gives it, the data that is held out (maybe the same), and states that it lacks.

    Raises:
        UsageError: there is no ``--data``, nor a data layer that names some; or ``--state`` is wrong.
        DataError: it cannot be used.
    """
    every = input_specs(loaded.model)
    outputs = [value.name or "" for value in loaded.model.graph.outputs]
    states = states_of(options, every, outputs, loaded.serialized, loaded.sha256)
    inputs = every if states is None else states.given
    given = given_data(options.model, options.data, options.preprocess, inputs)
    data = data_spec(options, given, inputs, options.labels, outputs)
    holdout_data = data
    if options.holdout_data is not None:
        held = given_data(None, options.holdout_data, None, inputs)
        holdout_data = data_spec(options, replace(held, preprocess=given.preprocess), inputs, None, outputs)
    return data, holdout_data, states


def input_specs(model: ir.Model) -> tuple[InputSpec, ...]:
    """The model's inputs as the data must fit them; initializers listed as inputs are not fed.

    A negative dimension, as Paddle writes one, is open.
    """
    fed = [value for value in model.graph.inputs if value.name not in model.graph.initializers]
    return tuple(map(tensor_spec, fed))


def tensor_spec(value: ir.Value) -> InputSpec:
    """Name, shape and dtype of an input or output of a model."""
    sizes = () if value.shape is None else value.shape
    shape = tuple(size if isinstance(size, int) and size >= 0 else None for size in sizes)
    return InputSpec(value.name or "", shape, numpy_dtype(value))


def data_spec(
    options: CommonOptions,
    given: GivenData,
    inputs: tuple[InputSpec, ...],
    labels: Path | None,
    outputs: Sequence[str] = (),
) -> DatasetSpec:
    """Describe a data set for a model.

    Raises:
        UsageError: it is in the memory of this process, and others are to read it.
        PreprocessError: the preprocessing or ``--input-config`` is wrong, or of another model.
    """
    for path in (given.source, labels):
        url = None if path is None else url_of(path)
        if url is not None and url.startswith(f"{IN_THIS_PROCESS}:") and options.executor != "local":
            raise UsageError(f"{url} is in the memory of this process alone: give --executor local")
    spec = DatasetSpec.create(
        given.source,
        inputs,
        preprocess=given.preprocess,
        labels=labels,
        allow_code=options.allow_code,
        root=given.root,
        notes=given.notes,
        classes=given.classes,
    )
    if options.input_config is not None:
        config = read_input_config(options.input_config)
        config.check(spec.inputs, outputs)
        if given.preprocess is None:
            spec = replace(spec, preprocessing=config.preprocessing(spec.inputs))
    if options.stage_data is None:
        return spec
    spec.open()  # what is damaged is said before it is hashed
    return replace(spec, stage=plan_stage(given.source, options.stage_data))


def choose_samples(options: CalibrateOptions, data: DatasetSpec, holdout_data: DatasetSpec) -> Selection:
    """Roles of the samples; a number that the user did not give shrinks to what is there."""
    tune_samples = options.tune_samples if isinstance(options, TuneOptions) else None
    count = data.count()
    separate = holdout_data.count() if options.holdout_data is not None else None
    samples = options.samples if "samples" in options.model_fields_set else min(options.samples, count)
    calibrating = samples or count
    wanted = min(calibrating, MOST_COMPARED) if tune_samples is None else tune_samples
    if tune_samples is not None and "tune_samples" not in options.model_fields_set:
        wanted = min(wanted, _most_tuned_on(options, calibrating))
    return select(count, samples, wanted, options.holdout, options.shuffle, options.seed, separate)


def _most_tuned_on(options: CalibrateOptions, calibrating: int) -> int:
    """So many of the calibration samples that what a search finds can be confirmed on the others.

    ``auto`` measures its goal on as many as there are, ``diff`` searches nothing, and other tuners' rules are
    followed to their end.
    """
    confirmed = type(options) is TuneOptions and options.strategy == "default"
    return calibrating // 2 if confirmed and calibrating >= LEAST_PARTED else calibrating
