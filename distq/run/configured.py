"""A run with SigmaStar's ``--input-config``: what the file says, in terms that distq has."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from distq.config import CalibrateOptions
from distq.data.input_config_file import read_input_config
from distq.engine.progress import Reporter
from distq.errors import UsageError
from distq.graph.plan import Plan
from distq.graph.resolve import resolve_names


def tell_differences(options: CalibrateOptions, reporter: Reporter) -> None:
    """Say what distq does otherwise than the file says.

    Raises:
        PreprocessError: the file is wrong.
    """
    if options.input_config is None:
        return
    config = read_input_config(options.input_config)
    for line in config.remarks():
        reporter.warn(line)
    if options.preprocess is not None and options.data is not None:
        reporter.line(f"{config.path}: mean and std are those of {options.preprocess}, not this file's")


def wide_tensors(path: Path | None, model: ir.Model, plan: Plan) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The quantizers that the file gives 16 bits, and a note on each name that is none.

    Raises:
        PreprocessError: the file is wrong.
    """
    if path is None:
        return (), ()
    config = read_input_config(path)
    wide = [quantizer.name for quantizer in plan.in_table] if config.all_int16 else []
    notes = []
    for tensor in config.int16_tensors:
        try:
            wide += resolve_names(model, plan, [tensor], f"{config.path}: tensor_arrays")
        except UsageError as error:  # a name from the vendor's template stands in many files
            notes.append(f"{error}; it is passed over")
    return tuple(dict.fromkeys(wide)), tuple(notes)
