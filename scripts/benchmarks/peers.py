"""distq side by side with public quantizers: the same networks, samples and granularity, measured alike.

    .venv/bin/python scripts/benchmarks/peers.py --data DATA
    .venv/bin/python scripts/benchmarks/peers.py --data DATA --peers distq --models squeezenet,resnet20

DATA holds the networks and photos that networks.py names. The first call makes the peers' own virtual
environment from peers-requirements.txt. Every quantizer runs in a process of its own; a row holds the seconds
and the peak memory of that whole process. Rows are kept in WORK/results.json: an interrupted call continues
there, and a row is made again when the quantizer's version, the sources of distq included, has changed. The
tables go between the markers of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from networks import BY_NAME, Network
from peers_process import make_environment, run
from peers_report import Row, write_report
from peers_run import PEERS

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "peers-requirements.txt"
DOCUMENT = HERE.parents[1] / "docs" / "benchmarks.md"

TARGETS = ("ort", "openvino", "tensorrt")
DISTQ = {
    "calibrate-mse": ("calibrate", "--method", "mse"),
    "calibrate": ("calibrate",),
    "tune": ("tune",),
}
TRIAL_SAMPLES = 16
QUARK = "import quark.onnx"
"""It compiles its operators then."""


@dataclass(frozen=True)
class Contender:
    """One quantizer with its settings; ``version`` says when its rows are out of date."""

    name: str
    tool: str
    settings: str
    symmetric: bool
    version: str
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Asked:
    """The command's own options."""

    data: Path
    work: Path
    models: str | None
    peers: str | None
    timeout: float
    again: bool
    quick: bool

    @property
    def folder(self) -> Path:
        """Where the arrays are."""
        return self.work / ("trial" if self.quick else "arrays")

    @property
    def results(self) -> Path:
        """Where rows are kept."""
        return self.work / ("trial.json" if self.quick else "results.json")


def contenders() -> Iterator[Contender]:
    """Peers first, then distq for each of its targets."""
    pinned = hashlib.sha256(REQUIREMENTS.read_bytes() + (HERE / "peers_run.py").read_bytes()).hexdigest()[:12]
    for name, peer in PEERS.items():
        yield Contender(name, peer.tool, peer.settings, peer.symmetric, pinned)
    for target in TARGETS:
        for name, arguments in DISTQ.items():
            settings = " ".join((*arguments, "--target", target))
            yield Contender(
                f"distq-{name}-{target}",
                "distq",
                settings,
                target == "tensorrt",
                distq_sources(),
                (*arguments, "--target", target),
            )


def distq_sources() -> str:
    """Hash of the package that would run."""
    spec = importlib.util.find_spec("distq")
    if spec is None or spec.origin is None:
        sys.exit("distq cannot be imported: run scripts/environment, then use .venv/bin/python")
    total = hashlib.sha256()
    for path in sorted(Path(spec.origin).parent.rglob("*.py")):
        total.update(path.read_bytes())
    return total.hexdigest()[:12]


def prepare(data: Path, folder: Path, network: Network, most: int | None) -> None:
    """Write the arrays of a network unless they are there."""
    stamp = folder / "prepared.json"
    wanted = json.dumps({"network": asdict(network), "most": most, "data": str(data)})
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        limit = [] if most is None else [str(most)]
        script = [sys.executable, HERE / "peers_data.py", data, folder, network.name, *limit]
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(list(map(str, script)), check=True)
        stamp.write_text(wanted, encoding="utf-8")


def compete(contender: Contender, network: Network, asked: Asked, peers: Path) -> Row:
    """Quantize a network, measure what came out, or say in one line why nothing did."""
    folder = asked.folder / network.name
    scratch = folder / contender.name
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    out = scratch / "model.onnx"
    calibration = folder / "calibration.npz"
    if contender.tool == "distq":
        command = distq_command(contender, network, asked, scratch / "run")
        out = scratch / "run" / "model.int8.onnx"
    else:
        script = str(HERE / "peers_run.py")
        command = list(map(str, (peers, script, contender.name, folder / "folded.onnx", calibration, out)))
    made = run(command, scratch / "log.txt", asked.timeout)
    figures: dict[str, float] = {}
    failed = made.reason if made.status else None
    if failed is None:
        command = [sys.executable, str(HERE / "peers_measure.py"), str(folder), network.name, str(out)]
        measured = run(command, scratch / "measured.txt", asked.timeout)
        if measured.status:
            failed = f"the model cannot be run: {measured.reason}"
        else:
            figures = json.loads((scratch / "measured.txt").read_text(encoding="utf-8"))
    return Row(
        network=network.name,
        name=contender.name,
        tool=contender.tool,
        settings=contender.settings,
        symmetric=contender.symmetric,
        version=contender.version,
        seconds=made.seconds,
        peak_mib=made.peak_mib,
        failed=failed,
        figures=figures,
    )


def distq_command(contender: Contender, network: Network, asked: Asked, out: Path) -> list[str]:
    """The distq command line for the same arrays; no held-out samples, so that it does not measure itself."""
    model = asked.data / "models" / f"{network.name}.onnx"
    calibration = asked.folder / network.name / "calibration.npz"
    verb, *options = contender.arguments
    if verb == "tune":
        options += ["--tune-samples", str(TRIAL_SAMPLES // 2 if asked.quick else network.tuning)]
    return [  # -P: the distq that was hashed, whatever folder this runs in
        *(sys.executable, "-P", "-m", "distq", verb, str(model), "--data", str(calibration), *options),
        *("--samples", "0", "--holdout", "0", "--executor", "local", "--quiet", "--out", str(out)),
    ]


def chosen(given: str | None, known: Sequence[str], what: str) -> list[str]:
    """Names of ``known`` that are, or start with, one of the comma-separated ones given."""
    if given is None:
        return list(known)
    wanted = given.split(",")
    for name in wanted:
        if not any(one.startswith(name) for one in known):
            sys.exit(f"no {what} is called {name}: known are {', '.join(known)}")
    return [one for one in known if any(one.startswith(name) for name in wanted)]


def arguments() -> Asked:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the networks and photos")
    parser.add_argument("--work", type=Path, default=Path(".peers"), help="venv, arrays, results (.peers)")
    parser.add_argument("--models", help="names, or how they start, separated by commas (all)")
    parser.add_argument("--peers", help="the same for quantizers: distq, ort, nncf-mixed, ... (all)")
    parser.add_argument("--timeout", type=float, default=600, help="seconds for one run (600)")
    parser.add_argument("--again", action="store_true", help="run what is asked for even if its row is there")
    parser.add_argument("--quick", action="store_true", help=f"{TRIAL_SAMPLES} samples, no document: a trial")
    given = vars(parser.parse_args())
    paths = {name: given[name].resolve() for name in ("data", "work")}
    return Asked(**(given | paths))


def main() -> None:
    asked = arguments()
    asked.work.mkdir(parents=True, exist_ok=True)
    peers = make_environment(asked.work, REQUIREMENTS, QUARK)
    everyone = {contender.name: contender for contender in contenders()}
    rows = read_rows(asked.results)
    running = chosen(asked.peers, list(everyone), "quantizer")
    for name in chosen(asked.models, list(BY_NAME), "network"):
        network = BY_NAME[name]
        prepare(asked.data, asked.folder / name, network, TRIAL_SAMPLES if asked.quick else None)
        for contender in map(everyone.__getitem__, running):
            old = rows.get((name, contender.name))
            if old is not None and old.version == contender.version and not asked.again:
                continue
            row = compete(contender, network, asked, peers)
            print(row.line(), flush=True)
            rows[name, contender.name] = row
            write_rows(asked.results, rows)
    if not asked.quick:
        order = [(network, name) for network in BY_NAME for name in everyone]
        made = [rows[key] for key in order if key in rows]
        write_report(DOCUMENT, made, REQUIREMENTS.read_text(encoding="utf-8"))


def read_rows(path: Path) -> dict[tuple[str, str], Row]:
    """Rows of earlier calls, by network and quantizer."""
    if not path.exists():
        return {}
    rows = [Row(**row) for row in json.loads(path.read_text(encoding="utf-8"))]
    return {(row.network, row.name): row for row in rows}


def write_rows(path: Path, rows: dict[tuple[str, str], Row]) -> None:
    """Replace the file in one step, so that stopping here loses nothing."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps([asdict(row) for row in rows.values()], indent=1), encoding="utf-8")
    temporary.replace(path)


if __name__ == "__main__":
    main()
