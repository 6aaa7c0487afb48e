"""What a sweep saves: networks of configs/ x (KL, MSE, percentile) x (auto, symmetric), against one by one.

    python scripts/benchmarks/sweep.py --out /tmp/sweep
    python scripts/benchmarks/sweep.py --out /tmp/sweep --networks mnist,resnet20_cifar10

Both sides run the command ``distq`` with as many workers; one by one, each job is a process that starts Ray.
Prints the seconds of both, their ratio, and the runs whose thresholds.json or model is not the same.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import time
from pathlib import Path

import yaml
from networks import BY_NAME

from distq.jobfile import load_job

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
NAMES = (*BY_NAME, "mnist")
METHODS = ("kl", "mse", "percentile")
SCHEMES = ("auto", "symmetric")
TAKEN = ("model", "data", "preprocess", "samples", "holdout", "holdout_data")
COMPARED = ("thresholds.json", "model.int8.onnx")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a folder to make")
    parser.add_argument("--networks", default=",".join(NAMES), help="names, with commas")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    out = given.out.resolve()
    out.mkdir(parents=True)
    networks = {name: network_options(name) for name in given.networks.split(",")}
    whole = {"command": "calibrate", "workers": given.workers}
    matrix = {
        "network": [{"name": name, **options} for name, options in networks.items()],
        "method": list(METHODS),
        "scheme": list(SCHEMES),
    }
    together = timed("sweep", out / "sweep.yaml", {**whole, "out": str(out / "sweep"), "matrix": matrix})
    apart, different = 0.0, []
    combinations = list(itertools.product(networks, METHODS, SCHEMES))
    for network, method, scheme in combinations:
        name = f"{network}-{method}-{scheme}"
        job = {**whole, **networks[network], "method": method, "scheme": scheme}
        apart += timed("run", out / f"{name}.yaml", {**job, "out": str(out / "alone" / name)})
        if any(read(out, "sweep", name, file) != read(out, "alone", name, file) for file in COMPARED):
            different.append(name)
    figures = {
        "runs": len(combinations),
        "sweep_seconds": round(together, 1),
        "one_by_one_seconds": round(apart, 1),
        "ratio": round(together / apart, 3),
        "different": different,
    }
    (out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=1))
    sys.exit(bool(different))


def network_options(name: str) -> dict[str, object]:
    """Model, data and samples of a job file of configs/, its paths absolute."""
    options = load_job(CONFIGS / f"{name}.yaml").options.model_dump(exclude_unset=True)
    found = {option: options[option] for option in TAKEN if option in options}
    return {
        option: str(value.resolve()) if isinstance(value, Path) else value for option, value in found.items()
    }


def timed(command: str, path: Path, content: dict[str, object]) -> float:
    """Wall seconds of ``distq run`` or ``distq sweep`` with a file.

    Raises:
        SystemExit: it failed.
    """
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    began = time.monotonic()
    code = subprocess.run(
        [sys.executable, "-m", "distq", command, str(path), "--quiet"], check=False
    ).returncode
    if code:
        raise SystemExit(f"distq {command} {path} ended with {code}")
    return time.monotonic() - began


def read(out: Path, side: str, run: str, name: str) -> bytes:
    """A file of a run."""
    return (out / side / run / name).read_bytes()


if __name__ == "__main__":
    main()
