"""What distq finds on this machine: versions, devices, Ray, memory; and what to do about what is wrong."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import socket
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from distq import instructions
from distq.engine.ray_cluster import machine_cores
from distq.errors import plural

_GIB = 1 << 30
_SMALL_OBJECT_STORE = 1 * _GIB
_SMALL_MEMORY = 2 * _GIB
_CONNECT_SECONDS = 3.0
_RAY_PORT = "6379"
_RAY_STARTED_HERE = "/tmp/ray/ray_current_cluster"  # noqa: S108  # where `ray start` leaves its address
_MODULES = {"onnx": "onnx", "ray": "ray", "numpy": "numpy", "opencv": "cv2"}
_REINSTALL = "install distq again, in a fresh virtual environment"
_RUNTIMES = ("onnxruntime", "onnxruntime-gpu")


class Check(BaseModel):
    """One thing looked at; ``missing`` is what distq cannot run without."""

    model_config = ConfigDict(frozen=True)

    name: str
    value: str
    status: Literal["ok", "warn", "missing"] = "ok"
    remedy: str = ""


class DoctorReport(BaseModel):
    """All that was looked at."""

    model_config = ConfigDict(frozen=True)

    checks: tuple[Check, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing essential is missing."""
        return all(check.status != "missing" for check in self.checks)


def examine(address: str | None = None) -> DoctorReport:
    """Look at this machine.

    Args:
        address: The Ray to reach, as ``--address`` takes it; by default $RAY_ADDRESS.
    """
    checks = [
        Check(name="distq", value=_version("distq") or "from a source tree"),
        Check(name="Python", value=platform.python_version()),
        *(_package(name, module) for name, module in _MODULES.items()),
        *_onnxruntime(),
        Check(name="cores", value=str(machine_cores())),
        _memory(),
        _object_store(Path("/dev/shm")),  # noqa: S108  # where Ray keeps its objects, not a temporary file
        _ray(address or os.environ.get("RAY_ADDRESS")),
    ]
    return DoctorReport(checks=tuple(checks))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _package(name: str, module: str) -> Check:
    try:
        loaded = importlib.import_module(module)
    except ImportError as error:
        return Check(name=name, value=f"cannot be imported: {error}", status="missing", remedy=_REINSTALL)
    return Check(name=name, value=str(loaded.__version__))


def _onnxruntime() -> Iterator[Check]:
    installed = [f"{name} {found}" for name in _RUNTIMES if (found := _version(name))]
    value = " and ".join(installed) or "not installed"
    try:
        providers = list(importlib.import_module("onnxruntime").get_available_providers())
    except (ImportError, AttributeError) as error:
        yield Check(name="onnxruntime", value=f"{value}: {error}", status="missing", remedy=_REINSTALL)
        return
    if len(installed) > 1:
        remedy = "they overwrite each other: pip uninstall both, then install onnxruntime-gpu alone"
        yield Check(name="onnxruntime", value=value, status="warn", remedy=remedy)
    else:
        yield Check(name="onnxruntime", value=value)
    yield Check(
        name="providers", value=", ".join(name.removesuffix("ExecutionProvider") for name in providers)
    )
    session = importlib.import_module("distq.replica.session")  # it needs ONNX Runtime
    yield _devices(session.cuda.gpu_count(), cuda="CUDAExecutionProvider" in providers)
    yield _instructions(instructions.integer_instructions(), exact=instructions.has_exact_integer_kernels())


def _devices(gpus: int, *, cuda: bool) -> Check:
    if not gpus:
        return Check(name="devices", value="cpu")
    value = f"cpu and {plural(gpus, 'GPU')}"
    if cuda:
        return Check(name="devices", value=value)
    remedy = "this ONNX Runtime has no CUDA: pip install 'distq[cuda]' to use --device cuda"
    return Check(name="devices", value=value, status="warn", remedy=remedy)


def _instructions(name: str, *, exact: bool) -> Check:
    if exact:
        return Check(name="INT8 instructions", value=name)
    remedy = "it has no VNNI: weights for ort and openvino are smaller by default, see --weight-bits"
    return Check(name="INT8 instructions", value=name, status="warn", remedy=remedy)


def _memory() -> Check:
    """Memory free for new processes: of the machine, or what a container (cgroup v2) has left."""
    available: dict[str, int] = {}
    for line in _text("/proc/meminfo").splitlines():
        key, _, rest = line.partition(":")
        if key == "MemAvailable":
            available["machine"] = int(rest.split()[0]) * 1024
    limit, used = _text("/sys/fs/cgroup/memory.max"), _text("/sys/fs/cgroup/memory.current")
    if limit.strip().isdigit() and used.strip().isdigit():
        available["container"] = max(0, int(limit) - int(used))
    if not available:
        return Check(name="memory", value="unknown")
    free = min(available.values())
    if free < _SMALL_MEMORY:
        remedy = "Ray alone takes 0.5 GiB: use --workers 1 or --executor local"
        return Check(name="memory", value=f"{_gib(free)} free", status="warn", remedy=remedy)
    return Check(name="memory", value=f"{_gib(free)} free")


def _object_store(folder: Path) -> Check:
    name = "object store"
    if not folder.is_dir():
        return Check(name=name, value=f"no {folder}: Ray uses the temporary folder")
    free = shutil.disk_usage(folder).free
    value = f"{_gib(free)} free in {folder}"
    if free < _SMALL_OBJECT_STORE:
        remedy = "start the container with --shm-size=2g, or use --executor local"
        return Check(name=name, value=value, status="warn", remedy=remedy)
    return Check(name=name, value=value)


def _ray(address: str | None) -> Check:
    """Whether something listens where ``--address`` points; Ray is not started for it."""
    name = "Ray address"
    if address in (None, "", "local"):
        return Check(name=name, value="none: distq starts a Ray of its own")
    place = _text(_RAY_STARTED_HERE).strip() if address == "auto" else str(address).removeprefix("ray://")
    if not place:
        return Check(name=name, value="auto: no Ray runs here", status="missing", remedy="ray start --head")
    host, _, port = place.rpartition(":") if ":" in place else (place, "", _RAY_PORT)
    if not port.isdigit():
        remedy = "an address is HOST:PORT, ray://HOST:PORT or auto"
        return Check(name=name, value=f"{address} has no port", status="missing", remedy=remedy)
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        remedy = "start Ray there, open the port, or leave --address out"
        return Check(name=name, value=f"{address}: {error}", status="missing", remedy=remedy)
    return Check(name=name, value=f"{address} answers")


def _gib(size: int) -> str:
    return f"{size / _GIB:.1f} GiB"


def _text(path: str) -> str:
    """A file of the kernel; empty where there is none."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
