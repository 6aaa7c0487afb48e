"""ONNX Runtime sessions, always opened the same way, so that a number means the same everywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnx
import onnxruntime
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from distq.activity import doing
from distq.ending import stopped_by, temporary_folder
from distq.errors import ExecutionError, UsageError
from distq.graph import weight_files
from distq.graph.weight_files import WEIGHTS_FOLDER, has_files, outside_bytes
from distq.instructions import has_exact_integer_kernels
from distq.memory import is_out_of_memory, out_of_memory, rss_bytes
from distq.replica import cuda
from distq.replica.outputs import kept_bytes
from distq.replica.saturation import may_saturate, reads_int8
from distq.replica.worker import Worker, WorkerSettings

onnxruntime.disable_telemetry_events()

LITERAL = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
NAMED = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
"""The highest level at which tensors keep their names, so that the fused graph can be cut."""

FASTEST = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
"""Adds layouts of memory: integer kernels run the same sums on them, up to four times as fast."""

_SESSION_BYTES = 4 << 20
"""What a session takes beside its network and the memory of its activations, which its arena keeps."""

_MEASURED_RUNS = 3
"""Runs after which an arena has grown to what the network needs."""

DISABLED = ["ConstantSharing", "WeightBiasQuantization", "GemmTransposeFusion", "MatmulTransposeFusion"]
"""The first renames equal constants into one; the second quantizes float weights that distq left in float.

The third takes out a Transpose in front of a Gemm that has one behind, even where it writes an output.
The last computes a transposed matrix times a vector wrong. (both measured with ONNX Runtime 1.31)
"""

_BESIDE = "session.optimized_model_external_initializers"
_FATAL = 4  # of ONNX Runtime's levels of logging; its errors are raised as well

KEPT_FUSED = 4
"""Fused graphs that are kept: a form is looked at before it is corrected, some forms together."""

FLOAT_LAYOUT = "NchwcTransformer"
"""Float convolutions on blocks of channels: twice as fast, but what they add up inside depends on what is
around them, so that a part of a network would not compute the bits of the whole."""


class RunError(ExecutionError):
    """ONNX Runtime does not run a network on what it was fed."""


class Session:
    """A loaded network.

    Args:
        model: ONNX bytes.
        settings: device and threads.
        fused: let ONNX Runtime fuse Q and DQ into integer kernels; otherwise every node runs as written.
        float_network: this is a network without quantizers that is only ever run whole: as fast as it can be.

    Attributes:
        held: bytes that it holds on to, measured by how this process grows as it is opened and first run.

    Raises:
        UsageError: the device is not there.
        ExecutionError: ONNX Runtime cannot load the model.
    """

    def __init__(
        self, model: bytes, settings: WorkerSettings, *, fused: bool = False, float_network: bool = False
    ) -> None:
        level = FASTEST if fused or float_network else LITERAL
        options = session_options(settings, level, model)
        disabled = DISABLED if float_network else [*DISABLED, FLOAT_LAYOUT]
        before = rss_bytes()
        self._session = _open(model, options, settings, disabled)
        self.inputs = tuple(i.name for i in self._session.get_inputs())
        self.outputs = tuple(o.name for o in self._session.get_outputs())
        inside = len(model) + outside_bytes(model)
        self.held = max(inside, rss_bytes() - before) + _SESSION_BYTES
        self._measured = 0

    def run(
        self, feeds: Mapping[str, npt.NDArray[Any]], wanted: Sequence[str] | None = None
    ) -> list[npt.NDArray[Any]]:
        """Outputs in order, or those named in ``wanted``; feeds may hold more than the session reads.

        Raises:
            RunError: what ONNX Runtime says went wrong.
            ExecutionError: there is no memory for it.
        """
        measured = self._measured < _MEASURED_RUNS
        before = rss_bytes() if measured else 0
        options = onnxruntime.RunOptions()
        options.log_severity_level = _FATAL

        def stop() -> None:
            options.terminate = True

        try:
            with stopped_by(stop), doing("ONNX Runtime's run"):
                found: list[npt.NDArray[Any]] = self._session.run(
                    wanted, {name: feeds[name] for name in self.inputs}, options
                )
        except Exception as error:  # ONNX Runtime's own exceptions share no root
            if is_out_of_memory(error):
                raise ExecutionError(out_of_memory("ONNX Runtime", error)) from error
            raise RunError(f"ONNX Runtime failed: {_first_line(error)}") from error
        if measured:
            self._measured += 1
            self.held += max(0, rss_bytes() - before - sum(map(kept_bytes, found)))
        return found


def cached_bytes(worker: Worker) -> Callable[[Session], int]:
    """What sessions are counted as in a worker's cache; it changes as they run.

    A quarter of the cache at most: the float network and two INT8 ones take turns, sample by sample, and to
    open any of them again each time would take longer than to run it.
    """
    most = max(worker.most // 4, _SESSION_BYTES)
    return lambda session: min(session.held, most)


def session_options(
    settings: WorkerSettings, level: onnxruntime.GraphOptimizationLevel, model: bytes
) -> onnxruntime.SessionOptions:
    """Options that distq's sessions share, for this model."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry(*WEIGHTS_FOLDER)
    options.add_session_config_entry(
        "session.qdqisint8allowed", "1"
    )  # keep int8 tensors, and their names, as written
    if not has_exact_integer_kernels() and not is_float(model):
        graph = onnx.load_model_from_string(model).graph
        if reads_int8(graph):
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        elif may_saturate(graph):
            options.add_session_config_entry("session.x64quantprecision", "1")
    return options


def shipped_session(model: bytes, settings: WorkerSettings) -> onnxruntime.InferenceSession:
    """A model as its user opens it: ONNX Runtime's own settings, but for the number of threads.

    Raises:
        UsageError: the device is not there.
        ExecutionError: ONNX Runtime cannot load the model.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.log_severity_level = _FATAL
    options.add_session_config_entry(*WEIGHTS_FOLDER)
    return _open(model, options, settings, [])


def is_float(model: bytes) -> bool:
    """Whether an ONNX file has no quantizers: names of operators stand in it as they are."""
    return b"QuantizeLinear" not in model and b"QLinear" not in model


@lru_cache(maxsize=KEPT_FUSED)
def fuse(model: bytes, settings: WorkerSettings) -> bytes:
    """The graph ONNX Runtime runs for a QDQ model, its constants under their names: integer kernels on CPU.

    On a GPU, which has none, or where constants are renamed, the QDQ graph itself; this process needs no GPU
    for it.

    Raises:
        ExecutionError: ONNX Runtime cannot load the model, or has no room for the fused one.
    """
    if settings.device != "cpu":
        return model
    fused = optimized(model, settings)
    return fused if _constants(model) <= _constants(fused) else model


@lru_cache(maxsize=KEPT_FUSED)
def optimized(model: bytes, settings: WorkerSettings) -> bytes:
    """The graph that ONNX Runtime makes of a model for a CPU, as it is.

    Raises:
        ExecutionError: ONNX Runtime cannot load the model, or has no room for the graph.
    """
    with temporary_folder(place=weight_files.folder() if has_files(model) else None) as folder:
        path, weights = folder / "fused.onnx", folder / "fused.weights"
        options = session_options(settings, NAMED, model)
        options.optimized_model_filepath = str(path)
        if has_files(model):
            options.add_session_config_entry(f"{_BESIDE}_file_name", weights.name)
            options.add_session_config_entry(f"{_BESIDE}_min_size_in_bytes", str(weight_files.LEAST_BYTES))
        try:
            _open(model, options, settings, DISABLED)
        except ExecutionError as error:
            if "serialization failed" not in str(error):
                raise
            raise ExecutionError(
                f"{path} cannot be written: make room for temporary files, or set TMPDIR to another disk"
            ) from error
        return _with_weights(path.read_bytes(), weights)


def _with_weights(model: bytes, weights: Path) -> bytes:
    """A model with what ONNX Runtime wrote beside it at a place where it stays."""
    if not weights.is_file():
        return model
    location = weight_files.adopt(weights)
    proto = onnx.load_model_from_string(model)
    for tensor in proto.graph.initializer:
        if uses_external_data(tensor):
            info = ExternalDataInfo(tensor)
            weight_files.refer(tensor, location, info.offset or 0, info.length or 0)
    return bytes(proto.SerializeToString())


def _constants(model: bytes) -> set[str]:
    """Names of integer weights; for a processor without exact kernels ONNX Runtime renames them."""
    return {
        t.name
        for t in onnx.load_model_from_string(model).graph.initializer
        if t.data_type == onnx.TensorProto.INT8
    }


def device_of(settings: WorkerSettings) -> str:
    """``cpu`` or ``cuda:n``; ``auto`` is a GPU where the runtime has one.

    Raises:
        UsageError: a GPU was asked for and the runtime or the machine has none.
    """
    if settings.device == "cpu":
        return "cpu"
    there = cuda.PROVIDER in onnxruntime.get_available_providers() and cuda.gpu_count() > 0
    if there:
        return settings.device if ":" in settings.device else "cuda:0"
    if settings.device == "auto":
        return "cpu"
    raise UsageError(
        f"--device {settings.device}: ONNX Runtime finds no CUDA device here; take --device cpu or auto"
    )


def _open(
    model: bytes, options: onnxruntime.SessionOptions, settings: WorkerSettings, disabled: list[str]
) -> onnxruntime.InferenceSession:
    device = device_of(settings)
    providers: list[Any] = ["CPUExecutionProvider"]
    if device != "cpu":
        cuda.prepare()
        index = int(device.partition(":")[2])
        providers = [(cuda.PROVIDER, cuda.provider_options(index, settings.gpu_part)), *providers]
    try:
        with stopped_by(lambda: options.set_load_cancellation_flag(True)):  # ONNX Runtime's own
            session = onnxruntime.InferenceSession(
                model, options, providers=providers, disabled_optimizers=disabled, enable_fallback=0
            )
    except Exception as error:  # ONNX Runtime raises classes of its own that share no root
        if is_out_of_memory(error):
            raise ExecutionError(out_of_memory("loading the model", error)) from error
        raise ExecutionError(f"ONNX Runtime cannot load the model: {_first_line(error)}") from error
    if device != "cpu" and session.get_providers()[0] != cuda.PROVIDER:
        raise UsageError(
            f"--device {settings.device}: CUDA does not start; install distq[cuda] or take --device cpu"
        )
    return session


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:300]
