"""Sweep files: options that all runs share, a matrix of those that differ, and what to leave out or add.

command: calibrate           # options of the command, for every run; paths are relative to the file
out: runs/sweep
matrix:                      # every combination is a run
  network:                   # a name of your own: options that go together
    - {model: a.onnx, data: photos, preprocess: a.yaml}
    - {model: b.onnx, data: rows.npz}
  method: [kl, mse]          # an option and its values
exclude:                     # combinations to leave out
  - {model: b.onnx, method: kl}
include:                     # runs beside the matrix
  - {model: a.onnx, data: photos, preprocess: a.yaml, method: max, name: widest}
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from distq.config import CalibrateOptions, CommonOptions, TuneOptions
from distq.errors import UsageError
from distq.jobfile import read_job_file, rooted
from distq.options import make_options, switched, switches, unknown_name

Command = Literal["calibrate", "tune"]
Values = dict[str, object]

KINDS: dict[str, type[CalibrateOptions]] = {"calibrate": CalibrateOptions, "tune": TuneOptions}
PLACE = (
    "executor",
    "workers",
    "device",
    "address",
    "cpus_per_worker",
    "gpus_per_worker",
    "wait_for_workers",
    "cache_memory",
    "decode_workers",
    "stage_data",
    "retries",
    "unit_timeout",
)
"""Options of the sweep as a whole, because its runs share the workers."""

_SAMPLES = ("data", "preprocess", "samples", "shuffle", "seed", "holdout", "holdout_data")
_NETWORK = ("model", "input_shape", "input_value", "state", "sequence", *_SAMPLES)
"""Options that decide which network a run is of, and on which samples."""

_WHOLE = (*PLACE, "out", "resume", "dump_dist")  # may not differ between runs
_OPTIONS = {
    name: None
    for name in (*TuneOptions.model_fields, *switches(TuneOptions), "command", "name")
    if name not in _WHOLE
}
_UNTOLD = ("data", "holdout_data", "preprocess", "labels")  # a run's name does not tell them
_FILES = {".onnx", ".npz", ".npy", ".txt", ".yaml", ".json", ".py"}
_OWN_FILES = ("journal.jsonl", "parts", "results.csv", "results.json", "report.html")
_SECTIONS = {"matrix", "include", "exclude", "out", *PLACE}


@dataclass(frozen=True)
class SweepRun:
    """One run: its name, which is its folder below ``out``, and what tells it from the others."""

    name: str
    command: Command
    options: CalibrateOptions
    varied: dict[str, str]


@dataclass(frozen=True)
class Sweep:
    """What a sweep file says."""

    out: Path
    place: CommonOptions
    runs: tuple[SweepRun, ...]


@dataclass(frozen=True)
class _Choice:
    """One value of one axis, or one combination of them."""

    values: Values
    labels: dict[str, str]


def load_sweep(source: Path | Mapping[str, object], overrides: Mapping[str, object] | None = None) -> Sweep:
    """Read a sweep.

    Args:
        source: the YAML file, whose relative paths start at its folder; or what it would say, with paths that
            start at the current folder.
        overrides: ``out``, ``report`` and options of :data:`PLACE` that replace the file's.

    Raises:
        UsageError: the file cannot be read, has an unknown key, an axis without values, a value that its
            option cannot have, an exclude that matches nothing, or no run.
    """
    if isinstance(source, Path):
        where, folder, content = f"{source}: ", source.parent, read_job_file(source)
    else:
        where, folder, content = "", Path(), dict(source)
    try:
        return _sweep(folder, content, overrides or {})
    except UsageError as error:
        raise UsageError(f"{where}{error}") from None


def by_network(runs: Sequence[SweepRun]) -> list[list[SweepRun]]:
    """Runs on the same model, data and preprocessing together, in the order of their first."""
    groups: dict[object, list[SweepRun]] = {}
    for run in runs:
        fields = run.options.model_dump(include=set(_NETWORK))
        key = tuple(fields[name] for name in _NETWORK)
        groups.setdefault(key, []).append(run)
    return list(groups.values())


def is_sweep(content: Mapping[str, object]) -> bool:
    """Whether a file is of a sweep, not of one job."""
    return "matrix" in content or "include" in content


def _sweep(folder: Path, content: Values, overrides: Mapping[str, object]) -> Sweep:
    common = {name: value for name, value in content.items() if name not in _SECTIONS}
    for name in common:
        if name not in _OPTIONS or name == "name":
            raise UsageError(unknown_name(name, {**_OPTIONS, **dict.fromkeys(_SECTIONS)}, "key"))
    common |= {name: value for name, value in overrides.items() if name == "report"}
    place = {name: rooted(folder, CommonOptions, name, content[name]) for name in PLACE if name in content}
    place |= {name: value for name, value in overrides.items() if name in PLACE}
    workplace = make_options(CommonOptions, place)
    out = overrides.get("out", content.get("out"))
    if not isinstance(out, str | Path):
        raise UsageError("out is missing: give the folder of the sweep")
    root = Path(out) if "out" in overrides else folder / out
    axes = _axes(content.get("matrix", {}))
    choices = _excluding(_combinations(axes), _entries(content, "exclude"), [name for name, _ in axes])
    choices += [_included(entry) for entry in _entries(content, "include")]
    if not choices:
        raise UsageError("there is no run: give a matrix or include")
    runs = [
        _run(_Choice({**common, **choice.values}, choice.labels), name, folder, {**place, "out": root / name})
        for name, choice in zip(_names(choices), choices, strict=True)
    ]
    return Sweep(root, workplace, tuple(runs))


def _axes(matrix: object) -> list[tuple[str, list[_Choice]]]:
    if not isinstance(matrix, dict):
        raise UsageError("matrix is a mapping of options to lists of values")
    axes = [(str(name), _axis(str(name), values)) for name, values in matrix.items()]
    for (first, ones), (second, others) in itertools.combinations(axes, 2):
        both = {n for c in ones for n in c.values} & {n for c in others for n in c.values}
        if both:
            raise UsageError(f"matrix: {first} and {second} both give {min(both)}: leave one out")
    return axes


def _axis(name: str, values: object) -> list[_Choice]:
    if not isinstance(values, list) or not values:
        raise UsageError(f"matrix: {name} is a list of values")
    if any(isinstance(value, dict) for value in values):
        return [_bundle(f"matrix: {name}", name, value) for value in values]
    _require_option("matrix", name)
    return [_Choice({name: value}, {name: _label(value)}) for value in values]


def _bundle(where: str, axis: str, values: object) -> _Choice:
    """Options that go together, known by their name, their model or all of their values."""
    if not isinstance(values, dict) or not values:
        raise UsageError(f"{where}: {values!r} is not a mapping of options like the other values")
    for name in values:
        _require_option(where, str(name))
    known_by = values.get("name", values.get("model"))
    label = "-".join(map(_label, values.values())) if known_by is None else _label(known_by)
    return _Choice({name: value for name, value in values.items() if name != "name"}, {axis: label})


def _included(values: Values) -> _Choice:
    """A run of its own, known by its name or by its options."""
    for name in values:
        _require_option("include", name)
    labels = {name: _label(value) for name, value in values.items() if name not in _UNTOLD}
    if "name" in values:
        labels = {"name": labels["name"]}
    return _Choice({name: value for name, value in values.items() if name != "name"}, labels)


def _require_option(where: str, name: str) -> None:
    if name in _WHOLE:
        raise UsageError(f"{where}: {name} is one for the whole sweep and cannot differ between runs")
    if name not in _OPTIONS:
        raise UsageError(f"{where}: {unknown_name(name, _OPTIONS)}")


def _combinations(axes: Sequence[tuple[str, list[_Choice]]]) -> list[_Choice]:
    if not axes:
        return []
    found = []
    for picked in itertools.product(*(choices for _, choices in axes)):
        values = {name: value for choice in picked for name, value in choice.values.items()}
        labels = {name: label for choice in picked for name, label in choice.labels.items()}
        found.append(_Choice(values, labels))
    return found


def _entries(content: Values, section: str) -> list[Values]:
    entries = content.get(section, [])
    if not isinstance(entries, list) or not all(isinstance(e, dict) and e for e in entries):
        raise UsageError(f"{section} is a list of mappings such as '- {{model: a.onnx, method: kl}}'")
    return [{str(name): value for name, value in entry.items()} for entry in entries]


def _excluding(choices: list[_Choice], excludes: Sequence[Values], axes: Sequence[str]) -> list[_Choice]:
    kept = choices
    for number, entry in enumerate(excludes, 1):
        for name in entry:
            if name not in axes:
                _require_option("exclude", name)
        matching = [choice for choice in choices if _matches(choice, entry)]
        if not matching:
            raise UsageError(f"exclude {number} matches no combination of the matrix: {entry}")
        kept = [choice for choice in kept if choice not in matching]
    return kept


def _matches(choice: _Choice, entry: Values) -> bool:
    for name, wanted in entry.items():
        accepted = wanted if isinstance(wanted, list) else [wanted]
        label = choice.labels.get(name)
        in_values = name in choice.values and choice.values[name] in accepted
        if not in_values and (label is None or label not in map(str, accepted)):
            return False
    return True


def _names(choices: Sequence[_Choice]) -> Iterator[str]:
    """Names for folders; one that is taken, by a run or a file of the sweep itself, gets a number."""
    taken = set(_OWN_FILES)
    for choice in choices:
        plain = re.sub(r"[^0-9A-Za-z._+-]+", "_", "-".join(choice.labels.values())).strip("._-") or "run"
        numbered = (f"{plain}-{number}" for number in itertools.count(2))
        name = next(name for name in itertools.chain([plain], numbered) if name not in taken)
        taken.add(name)
        yield name


def _run(choice: _Choice, name: str, folder: Path, fixed: Values) -> SweepRun:
    values = dict(choice.values)
    if "command" not in values:
        raise UsageError("command is missing: it is calibrate or tune")
    command = values.pop("command")
    if not isinstance(command, str) or command not in KINDS:
        raise UsageError(f"unknown command {command!r}: a sweep runs calibrate or tune")
    kind = KINDS[command]
    values = switched(kind, values)
    for option in values:
        if option not in kind.model_fields:
            raise UsageError(f"run {name}: {unknown_name(option, kind.model_fields)} ({command})")
    paths = {option: rooted(folder, kind, option, value) for option, value in values.items()}
    try:
        options = make_options(kind, {**paths, **fixed})
    except UsageError as error:
        raise UsageError(f"run {name}: {error}") from None
    return SweepRun(name, "tune" if command == "tune" else "calibrate", options, choice.labels)


def _label(value: object) -> str:
    """A value in the name of a run: of a path its file name without extension."""
    if isinstance(value, str | Path) and ("/" in str(value) or Path(value).suffix in _FILES):
        return Path(value).stem if Path(value).suffix in _FILES else Path(value).name
    if isinstance(value, list):
        return "+".join(map(str, value))
    return str(value)
