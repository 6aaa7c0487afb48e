"""What ONNX Runtime is told about a GPU; the GPU and its tools are stand-ins, the arithmetic is not."""

import os
import subprocess
import sys

import onnxruntime
import pytest

from distq.errors import UsageError
from distq.replica import cuda
from distq.replica.session import Session
from distq.replica.worker import WorkerSettings

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """No GPU of this machine is seen, and nothing is remembered from test to test."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    cuda.memory_bytes.cache_clear()
    cuda.prepare.cache_clear()
    yield
    cuda.memory_bytes.cache_clear()
    cuda.prepare.cache_clear()


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """A command of that name that knows two GPUs, of 16 and of 80 GiB, and one by its UUID."""
    path = tmp_path / "nvidia-smi"
    path.write_text(
        f"#!{sys.executable}\n"
        "import sys\n"
        "assert sys.argv[1:3] == ['--query-gpu=memory.total', '--format=csv,noheader,nounits']\n"
        "print({'0': 16384, '1': 81920, 'GPU-8d1b': 40960}[sys.argv[3].removeprefix('--id=')])\n"
    )
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.fixture
def machine(monkeypatch):
    """A machine with two GPUs, and what sessions on it are asked for."""
    asked = []

    class FakeSession:
        providers: tuple[str, ...] = (CUDA, CPU)

        def __init__(self, *_, providers, enable_fallback, **__):
            assert not enable_fallback
            asked.append(providers)

        def get_providers(self):
            return list(self.providers)

        def get_inputs(self):
            return []

        get_outputs = get_inputs

    monkeypatch.setattr(cuda, "gpu_count", lambda: 2)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", FakeSession)
    return FakeSession, asked


@pytest.mark.usefixtures("nvidia_smi")
@pytest.mark.parametrize(
    ("visible", "index", "gib"),
    [(None, 0, 16), (None, 1, 80), ("1", 0, 80), ("1,0", 1, 16), ("GPU-8d1b", 0, 40)],
)
def test_memory_is_that_of_the_device_that_the_process_sees(visible, index, gib, monkeypatch):
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert cuda.memory_bytes(index) == gib << 30


@pytest.mark.usefixtures("nvidia_smi")
def test_a_part_of_a_gpu_is_a_part_of_its_memory():
    half = cuda.provider_options(1, 0.5)
    assert half["gpu_mem_limit"] == 40 << 30
    assert half["arena_extend_strategy"] == "kSameAsRequested"
    assert cuda.provider_options(0, 0.25)["gpu_mem_limit"] == 4 << 30


def test_a_whole_gpu_has_no_limit_and_needs_no_tool(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cuda.provider_options(3, 1.0) == {
        "device_id": 3,
        "cudnn_conv_algo_search": "DEFAULT",
        "use_tf32": 0,
    }


def test_without_its_tool_a_part_is_refused_with_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"memory of GPU 0 is not known.*--gpus-per-worker 1"):
        cuda.provider_options(0, 0.5)


@pytest.mark.usefixtures("nvidia_smi")
def test_float_and_int8_sessions_of_a_worker_are_on_its_device_under_its_limit(machine):
    _, asked = machine
    settings = WorkerSettings("cuda:1", gpu_part=0.5)
    Session(b"float", settings, float_network=True)
    Session(b"int8", settings, fused=True)
    assert asked == [[(CUDA, cuda.provider_options(1, 0.5)), CPU]] * 2
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "0"


@pytest.mark.parametrize("device", ["cuda", "auto", "cuda:1"])
def test_a_session_that_fell_back_to_the_processor_is_refused(machine, device):
    kind, _ = machine
    kind.providers = (CPU,)
    with pytest.raises(UsageError, match=f"--device {device}: CUDA does not start"):
        Session(b"model", WorkerSettings(device))


def test_what_is_not_found_is_not_printed_among_results():
    script = "from distq.replica import cuda; cuda.prepare()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)  # noqa: S603  # our own interpreter
    assert done.stdout == ""
