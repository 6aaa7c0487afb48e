"""A run with SigmaStar's ``--input-config``: what the file says, as options that distq has."""

from __future__ import annotations

from typing import TypeVar

from distq.config import CalibrateOptions
from distq.data.input_config import read_input_config
from distq.engine.progress import Reporter
from distq.errors import UsageError
from distq.exchange.model_file import network_reader
from distq.graph.load import load_model
from distq.graph.plan import make_plan
from distq.graph.resolve import resolve_names
from distq.targets import find_target

Options = TypeVar("Options", bound=CalibrateOptions)


def configured(options: Options, reporter: Reporter) -> Options:
    """The options with the file's 16-bit tensors; what distq does otherwise than the file says is said.

    Raises:
        PreprocessError: the file is wrong.
        ModelError: the model cannot be read.
    """
    if options.input_config is None:
        return options
    config = read_input_config(options.input_config)
    model = load_model(options.model, read=network_reader(options.weights)).model
    for line in config.remarks():
        reporter.warn(line)
    if options.preprocess is not None and options.data is not None:
        reporter.line(f"{config.path}: mean and std are those of {options.preprocess}, not this file's")
    if not config.all_int16 and not config.int16_tensors:
        return options
    plan = make_plan(model, find_target(options.target), options.scheme)
    wide = [quantizer.name for quantizer in plan.quantizers] if config.all_int16 else []
    for tensor in config.int16_tensors:
        try:
            wide += resolve_names(model, plan, [tensor], f"{config.path}: tensor_arrays")
        except UsageError as error:  # a name from the vendor's template stands in many files
            reporter.warn(f"{error}; it is passed over")
    names = tuple(dict.fromkeys((*options.int16_layers, *wide)))
    return options.model_copy(update={"int16_layers": names})
