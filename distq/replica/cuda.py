"""NVIDIA GPUs as ONNX Runtime is told about them; nothing here needs a CUDA library."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
from pathlib import Path

import onnxruntime

from distq.errors import UsageError

PROVIDER = "CUDAExecutionProvider"
_MIB = 1 << 20
_SECONDS = 30


def gpu_count() -> int:
    """NVIDIA devices the kernel driver shows, without a CUDA library."""
    root = Path("/proc/driver/nvidia/gpus")
    return len(list(root.iterdir())) if root.is_dir() else 0


def provider_options(index: int, part: float) -> dict[str, str | int]:
    """Options of the CUDA provider on one device.

    The same convolution algorithm every time and no TF32: what differs from the processor is then the order
    of float sums. With a part of a GPU the arena of a session takes at most that part of its memory, and
    grows by what is asked for instead of by powers of two.

    Args:
        index: of the device among those this process sees.
        part: of the GPU that the worker booked, above 0 and at most 1.

    Raises:
        UsageError: the memory of the GPU is not known.
    """
    options: dict[str, str | int] = {
        "device_id": index,
        "cudnn_conv_algo_search": "DEFAULT",
        "use_tf32": 0,
    }
    if part < 1:
        options["gpu_mem_limit"] = int(memory_bytes(index) * part)
        options["arena_extend_strategy"] = "kSameAsRequested"
    return options


@functools.cache
def prepare() -> None:
    """What has to be so before the first CUDA session of a process: libraries found, TF32 off in cuDNN too.

    ``use_tf32`` alone does not reach convolutions that run as cuDNN graphs.
    """
    os.environ["NVIDIA_TF32_OVERRIDE"] = "0"
    with contextlib.redirect_stdout(sys.stderr):  # it prints what it does not find
        onnxruntime.preload_dlls()


@functools.cache
def memory_bytes(index: int) -> int:
    """The whole memory of a device, as ``nvidia-smi`` says it.

    Args:
        index: of the device among those this process sees; Ray names them in CUDA_VISIBLE_DEVICES.

    Raises:
        UsageError: it does not say.
    """
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    name = visible[index].strip() if index < len(visible) else str(index)
    query = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits", f"--id={name}"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, check=True, timeout=_SECONDS)  # noqa: S603  # a fixed command
        return int(answer.stdout.strip()) * _MIB
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise UsageError(
            f"the memory of GPU {name} is not known, so a part of it cannot be kept to: nvidia-smi fails "
            f"({type(error).__name__}); give each worker a whole one with --gpus-per-worker 1"
        ) from error
