"""The tables of zoo.py, between their markers in docs/benchmarks.md."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from peers_report import decibels, machine, markdown, percent
from zoo_networks import NETWORKS, Network

from distq.search.measures.measure import Measure

DOCUMENT = Path(__file__).parents[2] / "docs" / "benchmarks.md"
COMMAND = ".venv/bin/python scripts/benchmarks/zoo.py --cache CACHE --data DATA --write"
BEGIN, END = "<!-- zoo:begin -->", "<!-- zoo:end -->"

Row = Mapping[str, Any]
Rows = Mapping[str, Row]

READ = {
    "text": "lines of text equal to float's",
    "text-boxes": "boxes of text shared with float",
    "detection": "boxes shared with float",
    "largest": "same largest value as float",
    "decisions": "decisions (over 0.5) shared with float",
}

EXPLANATION = """\
Files out of wheels of the package index; each is calibrated on {calibration} samples (ViT-S on {few}) and
measured on others, the same arrays for all. Text lines, music and sound are synthesized, the detector's
photos have words drawn over them, and YOLOv8n (of nudenet, 18 classes) sees photos of people. SQNR in dB,
as in the tables above; beside it what people read. `ort` is ONNX Runtime with its integer kernels;
`simulated` is ONNX Runtime with Q and DQ as written; `openvino` is OpenVINO's own runtime. NNCF has its
default scales, one for each channel in front of depthwise convolutions. `tune` has effort 1 and 16 samples
(ViT-S 8, with channels evened out). The first table has the best of each tool's rows, each figure by
itself, whatever runtime it is measured in; the networks that fall shortest of 3 dB come first."""


def write_table(results: Mapping[str, Rows]) -> None:
    """Put the tables between the markers."""
    text = DOCUMENT.read_text(encoding="utf-8")
    if BEGIN not in text:
        text = f"{text.rstrip()}\n\n{BEGIN}\n{END}\n"
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    DOCUMENT.write_text(f"{before}{BEGIN}\n{report(results)}\n{END}{after}", encoding="utf-8")


def report(results: Mapping[str, Rows]) -> str:
    """The whole section; networks that fall shortest come first."""
    today = dt.datetime.now().astimezone().date()
    order = sorted((name for name in NETWORKS if name in results), key=lambda name: margin(results[name]))
    default, few = Network.calibration, NETWORKS["ViT-S"].calibration
    parts = [
        "## Networks that people ship now",
        f"`{COMMAND}`, {today}, {machine()}.",
        EXPLANATION.format(calibration=default, few=few),
        summary({name: results[name] for name in order}),
        *(f"### {name}\n\n{details(NETWORKS[name], results[name])}" for name in order),
    ]
    return "\n\n".join(parts)


def summary(results: Mapping[str, Rows]) -> str:
    """The best peers, distq's best, and by how much it is ahead."""
    header = [
        *(
            "network",
            "best peer",
            "distq `openvino`",
            "ahead",
            "ONNX Runtime's quantizer",
            "distq `ort`",
            "ahead",
        ),
        *("read as float: best peer", "distq `openvino`", "distq `ort`"),
    ]
    table = []
    for name, rows in results.items():
        ours, peers = _ours(rows), [row for row in rows.values() if row["tool"] != "distq"]
        theirs = [row for row in peers if row["tool"] == "ONNX Runtime"]
        table.append(
            [
                name,
                *(decibels(one) for one in (best(peers), best(ours["openvino"]))),
                _ahead(best(ours["openvino"]), best(peers)),
                *(decibels(one) for one in (best(theirs), best(ours["ort"]))),
                _ahead(best(ours["ort"]), best(theirs)),
                *(percent(best(one, "agreement")) for one in (peers, ours["openvino"], ours["ort"])),
            ]
        )
    return markdown(header, table)


def details(network: Network, rows: Rows) -> str:
    """Every quantizer in each runtime, the best first, and the reasons of those that failed."""
    judge = network.judge
    header = [
        "tool",
        "settings",
        "runtime",
        "SQNR, dB",
        READ[judge.name if isinstance(judge, Measure) else judge],
    ]
    measured = [(row, name, row[name]) for row in rows.values() for name in RUNTIMES if name in row]
    there = [one for one in measured if "failed" not in one[2]]
    there.sort(key=lambda one: -one[2]["sqnr_db"])
    table = [
        [
            row["tool"],
            row["settings"],
            name,
            decibels(f["sqnr_db"]),
            percent(f["agreement"]),
            f"{row['seconds']:.0f}",
        ]
        for row, name, f in there
    ]
    failures = [
        f"* {row['tool']}, {row['settings']}: {row['failed']}" for row in rows.values() if "failed" in row
    ]
    failures += [
        f"* {row['tool']}, {row['settings']}, `{name}`: {f['failed']}"
        for row, name, f in measured
        if "failed" in f
    ]
    text = markdown([*header, "seconds"], table)
    return text + ("\n\nFails:\n\n" + "\n".join(failures) if failures else "")


RUNTIMES = ("ort", "simulated", "openvino")


def margin(rows: Rows) -> float:
    """By how much distq is ahead where it is least, in dB."""
    ours, peers = _ours(rows), [row for row in rows.values() if row["tool"] != "distq"]
    pairs = (
        (best(ours["openvino"]), best(peers)),
        (best(ours["ort"]), best(row for row in peers if row["tool"] == "ONNX Runtime")),
    )
    return min((a or 0) - (b or 0) for a, b in pairs)


def best(rows: Iterable[Row], figure: str = "sqnr_db") -> float | None:
    """The highest of a figure, in any runtime; None where no row has it."""
    found = [row[name].get(figure) for row in rows for name in RUNTIMES if name in row]
    return max((one for one in found if one is not None), default=None)


def _ours(rows: Rows) -> dict[str, list[Row]]:
    mine = [row for row in rows.values() if row["tool"] == "distq"]
    return {
        target: [row for row in mine if f"--target {target}" in row["settings"]]
        for target in ("ort", "openvino")
    }


def _ahead(ours: float | None, theirs: float | None) -> str:
    return "-" if ours is None or theirs is None else f"{ours - theirs:+.1f}"
