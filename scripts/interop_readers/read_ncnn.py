"""ncnn's runtime, on a network that pnnx converts and distq's table quantizes.

ncnn2int8, which reads the table, is in no package. :func:`quantized` does to the two files what it does, and
ncnn computes with the scales that stand in them then.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import ncnn
import numpy as np
from common import Case, Rows, row, serve

INT8_WEIGHTS = 0x000D4B38
"""Tag of weights in a .bin that are int8."""

Parameters = dict[str, str]


def layers(text: str) -> Iterator[tuple[str, str, Parameters]]:
    """Type, name and parameters of the layers of a .param, in order."""
    for line in text.splitlines()[2:]:
        kind, name, inputs, outputs, *rest = line.split()
        values = rest[int(inputs) + int(outputs) :]
        yield kind, name, dict(value.split("=", 1) for value in values)


def sizes(kind: str, values: Parameters) -> tuple[int, int, int]:
    """Numbers of weights, outputs and biases of a layer with weights; 0 of others."""
    if kind not in {"Convolution", "ConvolutionDepthWise", "InnerProduct"}:
        return 0, 0, 0
    outputs = int(values["0"])
    weights, bias = ("2", "1") if kind == "InnerProduct" else ("6", "5")
    return int(values[weights]), outputs, outputs * int(values.get(bias, "0"))


def quantized(param: Path, table: dict[str, np.ndarray], out: Path) -> int:
    """Write a network with int8 weights and its scales; returns how many layers have them."""
    data, at, done = param.with_suffix(".bin").read_bytes(), 0, 0
    found, lines = bytearray(), param.read_text().splitlines()

    def take(count: int) -> np.ndarray:
        nonlocal at
        at += 4 * count
        return np.frombuffer(data, np.float32, count, at - 4 * count)

    for position, (kind, name, values) in enumerate(layers(param.read_text()), 2):
        if kind == "MemoryData":
            found += take(
                int(np.prod([int(values.get(key, "1")) for key in ("0", "1", "11", "2")]))
            ).tobytes()
        weights, outputs, biases = sizes(kind, values)
        if not weights:
            continue
        tag, weight, bias = take(1), take(weights), take(biases)
        scales, read = table.get(f"{name}_param_0"), table.get(name)
        if scales is None or read is None:
            found += tag.tobytes() + weight.tobytes() + bias.tobytes()
            continue
        codes = (
            np.rint(weight.reshape(outputs, -1) * scales[:, None]).clip(-127, 127).astype(np.int8).tobytes()
        )
        found += np.uint32(INT8_WEIGHTS).tobytes() + codes + bytes(-len(codes) % 4) + bias.tobytes()
        found += scales.tobytes() + read.tobytes()
        lines[position] += f" 8={1 if kind == 'ConvolutionDepthWise' else 2}"
        done += 1
    assert at == len(data), f"{len(data) - at} bytes of {param} are of layers not known here"  # noqa: S101
    out.write_text("\n".join(lines) + "\n")
    out.with_suffix(".bin").write_bytes(bytes(found))
    return done


def runner(param: Path, inputs: list[str]):
    """Runs a network; pnnx calls inputs ``in0`` and so on, as they follow one another in the ONNX file."""
    net = ncnn.Net()
    net.load_param(str(param))
    net.load_model(str(param.with_suffix(".bin")))

    def forward(sample: dict[str, np.ndarray]) -> list[np.ndarray]:
        extractor = net.create_extractor()
        for position, name in enumerate(inputs):
            extractor.input(f"in{position}", ncnn.Mat(sample[name][0]).clone())
        return [np.array(extractor.extract(name)[1]) for name in sorted(net.output_names())]

    return forward


def read(case: Case) -> Rows:
    """The network in float, to see that pnnx keeps it, then with distq's table."""
    folder = case.work / "ncnn"
    folder.mkdir(exist_ok=True)
    shapes = ",".join(str(list(v[:1].shape)).replace(" ", "") for v in case.heldout.values())
    model = folder / "net.onnx"
    model.write_bytes(Path(case.model).read_bytes())
    pnnx = Path(sys.executable).parent / "pnnx"
    subprocess.run([pnnx, model, f"inputshape={shapes}", "fp16=0"], check=True, cwd=folder)
    param, table = folder / "net.ncnn.param", folder / "net.table"
    convert = [os.environ["DISTQ_PYTHON"], "-m", "distq", "convert", case.work / "run", "--to", "ncnn"]
    subprocess.run([*convert, "--names", param, "--out", table], check=True, cwd=Path(__file__).parents[2])
    scales = {}
    for name, *values in map(str.split, table.read_text().splitlines()):
        scales[name] = np.array(values, np.float32)
    names = list(case.heldout)
    floats = case.sqnr(runner(param, names))
    assert floats > 60, f"pnnx's network is {floats:.1f} dB from the ONNX file"  # noqa: S101
    done = quantized(param, scales, folder / "int8.param")
    taken = f"yes, by what ncnn2int8 does; {done} layers"
    reader = f"ncnn {version('ncnn')}, pnnx {version('pnnx')}"
    return [row("ncnn", reader, taken, sqnr=case.sqnr(runner(folder / "int8.param", names)))]


if __name__ == "__main__":
    serve(read)
