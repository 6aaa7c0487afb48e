"""RKNN's toolkit: its hybrid quantization with distq's ranges, and distq's QDQ network, in its simulator."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
from common import Case, Rows, row, serve
from rknn.api import RKNN

PLATFORM = "rk3588"


def load(case: Case, rknn: RKNN, model: str) -> int:
    """Load a network for samples of one batch."""
    shapes = [list(values[:1].shape) for values in case.heldout.values()]
    return rknn.load_onnx(model=model, inputs=list(case.heldout), input_size_list=shapes)


def begun() -> RKNN:
    """A session without preprocessing: samples are prepared already."""
    rknn = RKNN(verbose=False)
    rknn.config(target_platform=PLATFORM)
    return rknn


def simulated(case: Case, rknn: RKNN) -> float:
    """SQNR of the simulator."""
    assert rknn.init_runtime() == 0  # noqa: S101  # a script
    names = list(case.heldout)

    def forward(sample: dict[str, np.ndarray]) -> list[np.ndarray]:
        return rknn.inference(inputs=[sample[n] for n in names], data_format=["nchw"] * len(names))

    return case.sqnr(forward)


def read(case: Case) -> Rows:
    """Step 1, distq's ranges in its file, step 2; and beside it RKNN's own calibration."""
    folder = case.work / "rknn"
    folder.mkdir(exist_ok=True)
    os.chdir(folder)
    lines = []
    for number, sample in enumerate(case.samples(case.calibration)):
        names = [f"{number:04}_{i}.npy" for i in range(len(sample))]
        for name, values in zip(names, sample.values(), strict=True):
            np.save(name, values)
        lines.append(" ".join(names))
    (folder / "list.txt").write_text("\n".join(lines) + "\n")
    rknn = begun()
    assert load(case, rknn, case.model) == 0  # noqa: S101
    assert rknn.hybrid_quantization_step1(dataset="list.txt") == 0  # noqa: S101
    (cfg,) = folder.glob("*.quantization.cfg")
    stem = cfg.name.removesuffix(".quantization.cfg")
    own_cfg, found = folder / "own.cfg", {}
    shutil.copy(cfg, own_cfg)
    for what in ("own", "distq"):
        if what == "distq":
            convert = [
                os.environ["DISTQ_PYTHON"],
                "-m",
                "distq",
                "convert",
                case.work / "run",
                "--to",
                "rknn",
            ]
            subprocess.run(
                [*convert, "--names", own_cfg, "--out", cfg],
                check=True, cwd=Path(__file__).parents[2],
            )  # fmt: skip
        rknn = begun()
        taken = rknn.hybrid_quantization_step2(
            model_input=f"{stem}.model", data_input=f"{stem}.data", model_quantization_cfg=cfg.name
        )
        assert taken == 0, f"step 2 gave {taken}"  # noqa: S101
        found[what] = simulated(case, rknn)
        rknn.release()
    rows = [row("rknn", f"rknn-toolkit2 {version('rknn-toolkit2')}, {PLATFORM}", "yes",
                sqnr=found["distq"], own=found["own"])]  # fmt: skip
    rknn = begun()
    if (
        load(case, rknn, str(case.work / "run" / "model.int8.onnx")) == 0
        and rknn.build(do_quantization=False) == 0
    ):
        rows.append(row("model.int8.onnx", f"rknn-toolkit2 {version('rknn-toolkit2')}", "yes",
                        sqnr=simulated(case, rknn), own=found["own"]))  # fmt: skip
    return rows


if __name__ == "__main__":
    sys.argv[1] = os.path.abspath(sys.argv[1])  # noqa: PTH100  # the folder changes
    serve(read)
