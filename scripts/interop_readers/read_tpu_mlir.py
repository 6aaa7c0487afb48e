"""TPU-MLIR: its table reader and its simulator, with distq's table and with its own calibration."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
from common import Case, Rows, row, serve

CHIP = "bm1684x"
BIN = Path(sys.executable).parent


def run(case: Case, *command: object) -> None:
    """One of TPU-MLIR's commands, in the work folder."""
    folder = case.work / "tpu-mlir"
    log = folder / f"{Path(str(command[0])).stem}.log"
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    with log.open("w") as stream:
        subprocess.run(
            [str(BIN / str(command[0])), *map(str, command[1:])],
            cwd=folder, check=True, stdout=stream, stderr=subprocess.STDOUT, env=environment,
        )  # fmt: skip


def deployed(case: Case, table: Path, name: str, *more: object) -> Path:
    """The quantized network of a table: the MLIR that the chip's simulator runs."""
    run(
        case, "model_deploy.py", "--mlir", "net.mlir", "--quantize", "INT8", "--chip", CHIP,
        "--calibration_table", table, "--skip_validation", "--not_gen_bmodel", "--model",
        f"{name}.bmodel", *more,
    )  # fmt: skip
    return case.work / "tpu-mlir" / f"net_{CHIP}_int8_sym_tpu.mlir"


def simulated(case: Case, mlir: Path) -> tuple[float, dict[str, float]]:
    """SQNR of a quantized network, and the scales of its tensors.

    In a process of its own: the simulator's libraries are looked for where ``tpu_mlir`` says when one starts.
    """
    import tpu_mlir  # noqa: F401, PLC0415  # sets the environment

    found = mlir.with_suffix(".json")
    command = [sys.executable, __file__, str(case.work), str(mlir), str(found)]
    subprocess.run(command, check=True, capture_output=True, cwd=mlir.parent)
    sqnr, scales = json.loads(found.read_text())
    return sqnr, scales


def simulate(case: Case, mlir: Path) -> tuple[float, dict[str, float]]:
    """The other process."""
    import pymlir  # noqa: PLC0415  # its libraries are found here alone

    pymlir.set_mem_mode("value_mem")  # as model_runner.py does; without it all values are 0
    module = pymlir.module()
    module.load(str(mlir))
    names = list(module.output_names)

    def forward(sample: dict[str, np.ndarray]) -> list[np.ndarray]:
        for name, values in sample.items():
            module.set_tensor(name, values.astype(np.float32), values.shape)
        module.invoke(True)  # noqa: FBT003  # it takes no name: values dequantized
        found = module.get_all_tensor()
        return [found[name] for name in names]

    scales = {}
    for name in module.all_tensor_names:
        information = module.get_tensor_qinfo(name)
        if information.dtype in {"I8", "U8"}:
            scales[name] = float(information.scale)
    return case.sqnr(forward), scales


def difference(table: Path, scales: dict[str, float]) -> tuple[float, int]:
    """The largest relative difference from T/255 of what is never negative, and T/127 of the rest."""
    worst, compared = 0.0, 0
    for line in table.read_text().splitlines():
        fields = line.split(" ")
        if len(fields) == 4 and fields[0] in scales:
            threshold, low = float(fields[1]), float(fields[2])
            wanted = threshold / (127 if low < 0 else 255)
            worst, compared = max(worst, abs(scales[fields[0]] / wanted - 1)), compared + 1
    return worst, compared


def read(case: Case) -> Rows:
    """Distq's table and TPU-MLIR's own, calibrated on the same samples."""
    folder = case.work / "tpu-mlir"
    (folder / "samples").mkdir(parents=True, exist_ok=True)
    for number, sample in enumerate(case.samples(case.calibration)):
        np.savez(folder / "samples" / f"{number:04}.npz", **sample)
    shapes = ",".join(str(list(v[:1].shape)).replace(" ", "") for v in case.calibration.values())
    run(case, "model_transform.py", "--model_name", "net", "--model_def", case.model,
        "--input_shapes", f"[{shapes}]", "--mlir", "net.mlir")  # fmt: skip
    run(case, "run_calibration.py", "net.mlir", "--dataset", "samples", "--input_num",
        len(case.samples(case.calibration)), "-o", "own_table")  # fmt: skip
    floats = ("--quantize_table", case.table("qtable"))
    own, _ = simulated(case, deployed(case, folder / "own_table", "own"))
    ours, scales = simulated(case, deployed(case, case.table("tpu-mlir"), "ours", *floats))
    worst, compared = difference(case.table("tpu-mlir"), scales)
    reader = f"tpu_mlir {version('tpu_mlir')} cmodel, {CHIP}"
    return [row("tpu-mlir, qtable", reader, "yes", difference=worst, tensors=compared, sqnr=ours, own=own)]


if __name__ == "__main__":
    if len(sys.argv) > 2:
        Path(sys.argv[3]).write_text(json.dumps(simulate(Case(Path(sys.argv[1])), Path(sys.argv[2]))))
    else:
        serve(read)
