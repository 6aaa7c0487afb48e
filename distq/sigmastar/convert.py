"""Several models that a user's ``forward`` runs, and their conversion to INT8."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx

from distq.cascades.models import Models
from distq.config import CalibrateOptions, TuneOptions
from distq.engine.progress import Reporter, SilentReporter
from distq.errors import UsageError
from distq.files import atomic_write
from distq.graph.read import LARGEST_BYTES, read_proto
from distq.graph.weight_files import beside, has_files
from distq.jobs.calibrate import calibrate
from distq.jobs.cascade import Upstream, Wanted, quantize_cascade
from distq.jobs.tune import tune
from distq.options import make_options
from distq.quant.table import dump_table, read_table
from distq.run.open import Lender
from distq.run.python_data import most_items
from distq.run.results import RunResult
from distq.run.rundir import RunDir
from distq.sigmastar.quant_param import (
    QuantParam,
    checked,
    imported,
    quant_param_of,
    read_quant_param,
    save_quant_param,
)
from distq.sigmastar.simulators import WrongUse, calibrator, table_beside
from distq.sweeps.runs import Verbs

FilePath = str | os.PathLike[str]

LEVELS = ("L1", "L2", "L3", "L4", "L5")
"""``quant_level``: from fast to best, as ``effort`` 1 to 5."""

_PLAIN = "data"  # argument of forward where an item is no list


class SIM_Simulator:  # noqa: N801  # the vendor's name
    """Models that ``forward`` runs; called with a generator it gives what that returns for each item."""

    def forward(self, *items: Any) -> Any:  # noqa: ANN401  # the user's own
        """Run the models on one item.

        Raises:
            WrongUse: it has not been written.
        """
        del items
        raise WrongUse(f"{type(self).__name__} has no forward(self, x): write what runs its models")

    def __call__(self, items: Iterable[Any], num_process: int = 1) -> list[Any]:
        """Run ``forward`` on every item, one after the other; ``num_process`` changes nothing."""
        del num_process
        return [self.forward(item) for item in items]


class SIM_Calibrator(SIM_Simulator):  # noqa: N801  # the vendor's name
    """Models that ``forward`` runs one behind another; each is an attribute.

    An attribute's name is that of the model's run folder.
    """

    def __init__(self) -> None:
        """Call this before an attribute is set."""
        self._calibrators: dict[str, calibrator] = {}

    def __setattr__(self, name: str, value: object) -> None:
        if isinstance(value, calibrator):
            if "_calibrators" not in self.__dict__:
                raise AttributeError("cannot assign calibrators before SIM_Calibrator.__init__() call")
            value.network.rename(name)
            self._calibrators[name] = value
        super().__setattr__(name, value)

    def convert(
        self,
        *inputs: Iterator[Any],
        num_process: int = 10,
        quant_level: str = "L5",
        quant_param: Sequence[QuantParam] | FilePath | None = None,
        fix_model: Sequence[FilePath] | None = None,
        mixed_precision: str = "sp",
        out: FilePath | None = None,
        upstream: Upstream = "int8",
        resume: bool = False,
        reporter: Reporter | None = None,
        **options: object,
    ) -> list[bytes] | None:
        """Quantize every model on what reaches it while ``forward`` runs.

        Args:
            inputs: One generator, whose items ``forward`` takes: lists of arrays, or arrays.
            num_process: Workers, at most one for each core.
            quant_level: ``L1`` (fast) to ``L5`` (best): ``effort`` 1 to 5 of ``distq tune``.
            quant_param: Ranges and bits of tensors to take as they are, as a list or the path of its JSON;
                the others are calibrated, and none is searched.
            fix_model: Where the INT8 models go, one path for each model. Beside each come its table and its
                ``quant_param``.
            mixed_precision: Of the vendor; ``int16_budget=N`` is what distq has.
            out: Folder of the runs; ``log`` beside the first of ``fix_model``, or here.
            upstream: As in :meth:`distq.Cascade.calibrate`.
            resume: Continue what is in ``out``.
            reporter: Told of progress; silent by default.
            options: Further options of ``distq tune``, such as ``samples=64`` or ``int16_budget=3``.

        Returns:
            None where ``fix_model`` is given, else the INT8 models as ONNX bytes, weights included.

        Raises:
            WrongUse: arguments that cannot be; also a ValueError.
            UsageError: an INT8 model is larger than bytes of ONNX can be, and ``fix_model`` is not given.
            InputError: a model, an item or an option cannot be used.
            ExecutionError: it failed while running.
        """
        del mixed_precision
        items = self._checked(inputs, quant_level, fix_model)
        params = None if quant_param is None else _params(quant_param)
        place = Path("log") if not fix_model else Path(fix_model[0]).parent / "log"
        folder = place if out is None else Path(out)
        kind = TuneOptions if params is None else CalibrateOptions
        values: dict[str, object] = {"workers": min(num_process, os.cpu_count() or 1), **options}
        if params is None:
            values = {"effort": LEVELS.index(quant_level) + 1, **values}
        made = {
            name: make_options(
                kind,
                {
                    **values,
                    "model": own.network.path,
                    "data": RunDir(folder / name).data,
                    "out": folder / name,
                    "input_config": own.config.path,
                },
            )
            for name, own in self._calibrators.items()
        }
        models = Models([own.network for own in self._calibrators.values()])
        wanted = Wanted(folder, made, upstream, most_items(next(iter(made.values()))), resume)
        verbs = Verbs(calibrate if params is None else _Import(params), tune)
        told = reporter or SilentReporter()
        quantize_cascade(models, self._run_item, map(_arguments, items), wanted, verbs, told)
        runs = [RunDir(folder / name) for name in self._calibrators]
        if fix_model is None:
            return [_bytes(run) for run in runs]
        for run, path in zip(runs, fix_model, strict=True):
            _copy(run, Path(path))
        return None

    def _run_item(self, *parts: Any, **named: Any) -> Any:  # noqa: ANN401  # what the generator gave
        """The user's ``forward`` with an item as the generator gave it: a list, or an array."""
        return self.forward(named[_PLAIN] if named else list(parts))

    def _checked(
        self, inputs: Sequence[Iterator[Any]], quant_level: str, fix_model: Sequence[FilePath] | None
    ) -> Iterator[Any]:
        """The generator.

        Raises:
            WrongUse: there is none, or an argument cannot be.
        """
        if quant_level not in LEVELS:
            raise WrongUse(f"Unknown quant_level: {quant_level}; it is one of {', '.join(LEVELS)}")
        if not self._calibrators:
            raise WrongUse("SIM_Calibrator has no models: set attributes to calibrator(model, ini)")
        if fix_model is not None and len(fix_model) != len(self._calibrators):
            raise WrongUse(
                f"Num of fix_models must equal Num of models: {len(fix_model)} paths for "
                f"{', '.join(self._calibrators)}"
            )
        if len(inputs) != 1 or not isinstance(inputs[0], Iterator):
            raise WrongUse("SIM_Calibrator need data generator for input: one, which gives items of forward")
        return inputs[0]


class _Import:
    """The verb of a conversion with ``quant_param``: ranges that are given go before measured ones."""

    def __init__(self, params: Sequence[QuantParam]) -> None:
        self._params = params

    def __call__(
        self, options: CalibrateOptions, reporter: Reporter, lender: Lender | None = None
    ) -> RunResult:
        measured = RunDir(options.out.with_name(f"{options.out.name}.measured"))
        given = options.out.with_name(f"{options.out.name}.imported.json")
        resumed = measured.run.exists()
        first = {"out": measured.path, "resume": resumed, "holdout": 0, "bias_correction": False}
        calibrate(options.model_copy(update=first), reporter, lender)
        found = imported(read_table(measured.thresholds), self._params)
        if found.unknown:
            names = ", ".join(found.unknown[:3]) + (" ..." if len(found.unknown) > 3 else "")
            reporter.warn(f"{options.out.name}: {names} of quant_param are no quantized tensors: passed over")
        atomic_write(given, dump_table(found.table))
        wide = tuple(dict.fromkeys((*options.int16_layers, *found.int16)))
        return calibrate(options.model_copy(update={"table": given, "int16_layers": wide}), reporter, lender)


def _params(given: Sequence[QuantParam] | FilePath) -> list[QuantParam]:
    return read_quant_param(given) if isinstance(given, str | os.PathLike) else checked(given, "quant_param")


def _arguments(item: object) -> object:
    """An item as a cascade keeps it: a list by position, anything else by name."""
    return item if isinstance(item, list | tuple) else {_PLAIN: item}


def _bytes(run: RunDir) -> bytes:
    """The INT8 model with its weights.

    Raises:
        UsageError: it is larger than one message of protobuf.
    """
    if not run.weights.is_file():
        return run.model.read_bytes()
    if run.model.stat().st_size + run.weights.stat().st_size > LARGEST_BYTES:
        raise UsageError(
            f"{run.model} and its weights have over 2 GB, which bytes of ONNX cannot hold: give fix_model, "
            "and resume=True to convert nothing again"
        )
    model: bytes = onnx.load(run.model).SerializeToString()
    return model


def _copy(run: RunDir, path: Path) -> None:
    """The INT8 model, its table and its ``quant_param``.

    Raises:
        UsageError: they cannot be written there.
    """
    try:
        model = read_proto(run.model)[0].SerializeToString() if run.weights.is_file() else b""
        named = beside(model, path.with_name(f"{path.name}.data")) if has_files(model) else b""
        path.write_bytes(named or run.model.read_bytes())
        shutil.copyfile(run.thresholds, table_beside(path))
    except OSError as error:
        raise UsageError(
            f"fix_model {path} cannot be written: {error.strerror}; {run.model} is there"
        ) from None
    save_quant_param(quant_param_of(read_table(run.thresholds)), path.with_name(f"{path.name}.json"))
