"""What doctor finds, and what it says about it."""

from __future__ import annotations

import socket
import sys

import pytest

from distq.jobs import doctor
from distq.jobs.doctor import Check, DoctorReport, examine


def check(report, name):
    return next(check for check in report.checks if check.name == name)


@pytest.fixture(autouse=True)
def _no_ray_address(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def test_this_machine_can_run_distq():
    report = examine()
    assert report.healthy
    assert {"distq", "Python", "onnxruntime", "ray", "numpy", "providers", "INT8 instructions"} <= {
        check.name for check in report.checks
    }
    assert "CPU" in check(report, "providers").value
    assert check(report, "Ray address").value == "none: distq starts a Ray of its own"


def test_a_ray_that_answers_is_ok_and_one_that_does_not_is_missing():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert check(examine(address), "Ray address").status == "ok"
        assert check(examine(f"ray://{address}"), "Ray address").value.endswith("answers")
    report = examine(address)
    assert check(report, "Ray address").status == "missing"
    assert not report.healthy


def test_the_address_of_the_environment_is_used(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    assert "127.0.0.1:1" in check(examine(), "Ray address").value


def test_an_address_without_a_port_number_is_refused():
    found = check(examine("head:port"), "Ray address")
    assert found.status == "missing"
    assert "HOST:PORT" in found.remedy


def test_auto_wants_a_ray_on_this_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "_RAY_STARTED_HERE", str(tmp_path / "none"))
    assert check(examine("auto"), "Ray address").remedy == "ray start --head"


def test_both_onnxruntime_packages_are_warned_of(monkeypatch):
    monkeypatch.setattr(doctor, "_version", "1.2.3".format)
    found = check(examine(), "onnxruntime")
    assert found.status == "warn"
    assert found.value == "onnxruntime 1.2.3 and onnxruntime-gpu 1.2.3"
    assert "uninstall" in found.remedy


def test_a_package_that_cannot_be_imported_is_missing(monkeypatch):
    monkeypatch.setattr(doctor, "_MODULES", {"onnx": "no_such_module_anywhere"})
    report = examine()
    assert not report.healthy
    assert check(report, "onnx").remedy


def test_a_gpu_without_cuda_in_onnx_runtime_is_warned_of():
    assert doctor._devices(0, cuda=True).value == "cpu"
    assert doctor._devices(2, cuda=True) == Check(name="devices", value="cpu and 2 GPUs")
    assert "distq[cuda]" in doctor._devices(1, cuda=False).remedy


def test_a_processor_without_exact_integer_kernels_is_warned_of():
    assert doctor._instructions("x86_64 avx512_vnni", exact=True).status == "ok"
    assert doctor._instructions("x86_64 avx2", exact=False).status == "warn"


def test_without_onnx_runtime_something_essential_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    report = examine()
    assert check(report, "onnxruntime").status == "missing"
    assert not report.healthy


def test_a_warning_does_not_make_a_machine_unfit():
    warned = Check(name="memory", value="1 GiB", status="warn", remedy="close something")
    lacking = Check(name="ray", value="none", status="missing", remedy="install it")
    assert DoctorReport(checks=(warned,)).healthy
    assert not DoctorReport(checks=(warned, lacking)).healthy
