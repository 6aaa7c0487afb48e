"""One model at a time: inputs set, the model invoked, outputs taken, details of its tensors asked for."""

from __future__ import annotations

import operator
import os
import warnings
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from distq.cascades.models import CascadeModel
from distq.data.fit import fits
from distq.data.input_config import InputConfig
from distq.data.input_config_file import read_input_config
from distq.data.samples import InputSpec, shape_text
from distq.errors import UsageError
from distq.exchange.model_file import network_reader, read_network
from distq.graph.large import from_proto
from distq.graph.load import load_model
from distq.graph.placement import make_plan
from distq.graph.resolve import resolve_names
from distq.graph.shapes import infer_shapes
from distq.graph.values import numpy_dtype, values_of
from distq.quant.table import read_table
from distq.run.rundir import RunDir
from distq.targets import find_target

FilePath = str | os.PathLike[str]
Details = list[dict[str, Any]]


class WrongUse(UsageError, ValueError):  # noqa: N818  # what a caller did, as the vendor's ValueError
    """A method was called in a way it cannot be; also a ValueError, as the vendor's methods raise."""


class _Simulator:
    """What all of them have."""

    def __init__(self, model: CascadeModel) -> None:
        self.network = model
        self._given: dict[int, NDArray[Any]] = {}
        self._results: list[NDArray[Any]] | None = None

    def get_input_details(self) -> Details:
        """Of each input: ``index``, ``name``, ``shape`` (-1 where it is open) and ``dtype``."""
        return [_detail(index, spec) for index, spec in enumerate(self.network.inputs)]

    def get_output_details(self) -> Details:
        """Of each output: the same."""
        return [_detail(index, spec) for index, spec in enumerate(self.network.output_specs)]

    def set_input(self, index: int, data: NDArray[Any]) -> None:
        """Give an input.

        Args:
            index: of the input.
            data: of its shape and dtype. (1, H, W, C) is turned where the model takes (1, C, H, W).

        Raises:
            WrongUse: there is no such input, or the array is of another shape or dtype.
        """
        self._require(index, len(self.network.inputs), "inputs")
        spec = self.network.inputs[index]
        array = np.asarray(data)
        if array.dtype != np.dtype(spec.dtype):
            raise WrongUse(f"input {spec.name!r} takes {spec.dtype}, not {array.dtype}: convert the array")
        if not fits(array.shape, spec):
            turned = array.transpose(0, 3, 1, 2) if array.ndim == 4 else array
            if not fits(turned.shape, spec):
                raise WrongUse(
                    f"input {spec.name!r} takes {shape_text(spec.shape)}, not {shape_text(array.shape)}"
                )
            warnings.warn(
                f"input {spec.name!r} is given as (1, H, W, C) and turned into (1, C, H, W)", stacklevel=2
            )
            array = turned
        self._given[index] = array

    def invoke(self) -> None:
        """Run the model on the inputs that were set.

        Raises:
            WrongUse: one was not.
        """
        missing = [spec.name for i, spec in enumerate(self.network.inputs) if i not in self._given]
        if missing:
            raise WrongUse(f"input {missing[0]!r} is not set: call set_input before invoke")
        self._results = self.network(*(self._given[i] for i in range(len(self.network.inputs))))

    def get_output(self, index: int) -> NDArray[Any]:
        """An output of the last run.

        Raises:
            WrongUse: nothing ran yet, or there is no such output.
        """
        if self._results is None:
            raise WrongUse(f"{self.network.name} has no outputs yet: call invoke before get_output")
        self._require(index, len(self._results), "outputs")
        return self._results[index]

    def _require(self, index: object, count: int, what: str) -> None:
        if not isinstance(index, SupportsIndex) or not 0 <= operator.index(index) < count:
            raise WrongUse(f"{self.network.name} has {count} {what}, none at {index!r}")


class float_simulator(_Simulator):  # noqa: N801  # the vendor's name
    """A float model."""

    def __init__(self, model: FilePath) -> None:
        """Read it.

        Raises:
            ModelError: it cannot be read.
        """
        super().__init__(CascadeModel(Path(model).stem, Path(model)))

    def get_tensor_details(self) -> Details:
        """Of each tensor: ``name``, ``shape``, ``dtype`` and ``qtype``, here always FLOAT32 and the like."""
        return [{**detail, "qtype": detail["dtype"]} for detail in _tensors(self.network.path)]


class calibrator(_Simulator):  # noqa: N801  # the vendor's name
    """A float model that is to be quantized, with its ``input_config.ini``.

    Attributes:
        config: the file.
    """

    def __init__(self, model: FilePath, input_config: FilePath, **_: object) -> None:
        """Read both.

        Args:
            model: The ONNX file.
            input_config: The file's path. Names and their order have to be the model's.
            _: ``work_mode`` and ``show_log`` of the vendor, which change nothing here.

        Raises:
            ModelError: the model cannot be read.
            PreprocessError: the file is wrong, or of another model.
        """
        super().__init__(CascadeModel(Path(model).stem, Path(model)))
        self.config: InputConfig = read_input_config(Path(input_config))
        self.config.check(self.network.inputs, self.network.outputs)

    def get_tensor_details(self) -> Details:
        """Of each tensor: ``name``, ``shape``, ``dtype`` and ``qtype``: what a conversion will make of it."""
        model = load_model(self.network.path, read=network_reader()).model
        plan = make_plan(model, find_target("ort"), "auto")
        bits = {tensor: 8 for quantizer in plan.in_table for tensor in quantizer.tensors}
        wide = set(bits) if self.config.all_int16 else set()
        for name in self.config.int16_tensors:
            try:
                wide |= {*resolve_names(model, plan, [name], "tensor_arrays")}
            except UsageError:  # said when it is converted
                continue
        qtypes = {tensor: "INT16" if tensor in wide else "UINT8" for tensor in bits}
        return [
            {**detail, "qtype": qtypes.get(detail["name"], detail["dtype"])}
            for detail in _tensors(self.network.path)
        ]


class fixed_simulator(_Simulator):  # noqa: N801  # the vendor's name
    """An INT8 model that ``convert`` or ``distq tune`` made."""

    def __init__(self, model: FilePath) -> None:
        """Read it.

        Raises:
            ModelError: it cannot be read.
            WrongUse: the table that belongs to it is not beside it.
        """
        path = Path(model)
        super().__init__(CascadeModel(path.stem, path))
        tables = (table_beside(path), RunDir(path.parent).thresholds)
        table = next((table for table in tables if table.is_file()), None)
        if table is None:
            raise WrongUse(f"{path} has no table beside it: {tables[0].name}, or {tables[1].name} as in RUN")
        self._table = read_table(table)

    def get_tensor_details(self) -> Details:
        """Of each quantized tensor.

        ``name``, ``shape``, ``dtype`` and ``qtype`` such as UINT8, ``min`` and ``max`` as lists, and
        ``quantization``, a list of (scale, zero point).
        """
        shapes = {detail["name"]: detail["shape"] for detail in _tensors(self.network.path)}
        return [
            {
                "name": name,
                "shape": shapes.get(name, np.array([], int)),
                "dtype": str(row.encoding.dtype).upper(),
                "qtype": str(row.encoding.dtype).upper(),
                "min": [row.min],
                "max": [row.max],
                "quantization": [(row.scale, row.zero_point)],
            }
            for name, row in sorted(self._table.items())
        ]


def table_beside(model: Path) -> Path:
    """Where the table of a converted model lies."""
    return model.with_name(f"{model.name}.thresholds.json")


def _detail(index: int, spec: InputSpec) -> dict[str, Any]:
    shape = np.array([-1 if size is None else size for size in spec.shape], int)
    return {"index": index, "name": spec.name, "shape": shape, "dtype": np.dtype(spec.dtype).type}


def _tensors(path: Path) -> Details:
    """Name, shape and dtype of every tensor of a model."""
    model = from_proto(read_network(path).proto)
    infer_shapes(model)
    found = []
    for value in values_of(model.graph):
        sizes = () if value.shape is None else value.shape
        shape = np.array([size if isinstance(size, int) else -1 for size in sizes], int)
        dtype = "" if value.dtype is None else numpy_dtype(value).upper()
        found.append({"name": value.name or "", "shape": shape, "dtype": dtype})
    return found
