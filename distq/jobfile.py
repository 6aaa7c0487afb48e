"""Job files: the options of one command as YAML.

command: tune          # calibrate, tune, auto, eval, diff, export, report or convert
model: model.onnx      # paths are relative to the job file
data: photos
tune_samples: 32       # any option of the command, with underscores; a flag is true or false
out: runs/model
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_type_hints

from distq.config import (
    AutoOptions,
    CalibrateOptions,
    CommonOptions,
    ConvertOptions,
    DiffOptions,
    EvaluateOptions,
    TuneOptions,
    joined_files,
)
from distq.errors import UsageError
from distq.options import RESERVED, make_options, switched, unknown_name
from distq.regular import read_regular
from distq.run_options import ExportOptions, ReportOptions
from distq.urls import url_of
from distq.yaml_text import parse_yaml

RUNNING: dict[str, type[CommonOptions]] = {
    "calibrate": CalibrateOptions,
    "tune": TuneOptions,
    "auto": AutoOptions,
    "eval": EvaluateOptions,
    "diff": DiffOptions,
}
"""Commands that run networks, and so have workers."""

JobOptions = CommonOptions | ExportOptions | ReportOptions | ConvertOptions

COMMANDS: dict[str, type[JobOptions]] = {
    **RUNNING,
    "export": ExportOptions,
    "report": ReportOptions,
    "convert": ConvertOptions,
}
_WORDS = {word: name for name, word in RESERVED.items()} | {
    "from": "source_format",
    "from_convention": "source_convention",
}
"""Names of options by the words that users know them by."""

_SWITCHES = ("quiet", "json")  # options of every command that say how it prints, not what it does


@dataclass(frozen=True)
class Job:
    """What a job file says: the options of its command, and how to print."""

    options: JobOptions
    quiet: bool
    json: bool


def load_job(
    path: Path,
    overrides: Mapping[str, object] | None = None,
    commands: Mapping[str, type[JobOptions]] = COMMANDS,
) -> Job:
    """Read a job file.

    Args:
        path: The YAML file; relative paths in it start at its folder.
        overrides: Options that replace the file's; relative paths in them start at the current folder.
        commands: That it may be of.

    Raises:
        UsageError: the file cannot be read, is not a mapping, has no or an unknown command, an unknown key,
            or a value that its option cannot have; or an override is not an option of the command.
    """
    values = read_job_file(path)
    command = values.pop("command", None)
    if "matrix" in values:
        raise UsageError(f"{path}: a matrix is of a sweep: run it with distq sweep {path}")
    if command is None:
        raise UsageError(f"{path}: command is missing: it is one of {', '.join(commands)}")
    kind = commands.get(command) if isinstance(command, str) else None
    if kind is None:
        raise UsageError(f"{path}: unknown command {command!r}: it is one of {', '.join(commands)}")
    switches = {name: _switch(path, name, values.pop(name, False)) for name in _SWITCHES}
    values = {_WORDS.get(name, name): value for name, value in values.items()}
    try:
        values = switched(kind, values)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    for name in [*values, *(overrides or {})]:
        if name not in kind.model_fields:
            raise UsageError(f"{path}: {unknown_name(name, kind.model_fields)} ({command})")
    values = {name: rooted(path.parent, kind, name, value) for name, value in values.items()}
    try:
        options = make_options(kind, {**values, **(overrides or {})})
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    return Job(options, **switches)


def read_job_file(path: Path) -> dict[str, object]:
    """What a job file says, as it says it; whether its options can be so is :func:`load_job`'s to check.

    Raises:
        UsageError: the file cannot be read or is no mapping of names.
    """
    try:
        content = parse_yaml(read_regular(path))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}; give a YAML file") from None
    except ValueError as error:
        raise UsageError(f"{path}: is not YAML: {error}") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path}: a job file is a mapping such as 'command: tune', not {_kind(content)}")
    for key in content:
        if not isinstance(key, str):
            raise UsageError(f"{path}: key {key!r} is not the name of an option")
    return content


def _switch(path: Path, name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"{path}: {name} is true or false, not {value!r}")
    return value


def rooted(folder: Path, kind: type[JobOptions], name: str, value: object) -> object:
    """A relative path seen from the job file's folder; any other value, and a URL, unchanged.

    Several preprocessing files, with commas between, are seen from there each.
    """
    value = joined_files(value) if name == "preprocess" else value
    if name == "preprocess" and isinstance(value, str) and not (folder / value).exists():
        return ",".join(str(folder / part.strip()) for part in value.split(","))
    if name == "measure":
        return _rooted_measures(folder, value)
    if name == "diff" and isinstance(value, str) and value.endswith(".py"):
        return str(folder / value)
    if name == "int8_layers" and isinstance(value, str) and (folder / value).is_file():
        return str(folder / value)
    hint = get_type_hints(kind)[name]
    if hint == tuple[Path, ...]:
        return [_rooted_path(folder, one) for one in (value if isinstance(value, list) else [value])]
    return _rooted_path(folder, value) if hint in (Path, Path | None) else value


def _rooted_path(folder: Path, value: object) -> object:
    return folder / value if isinstance(value, str) and url_of(value) is None else value


def _rooted_measures(folder: Path, value: object) -> object:
    """Measures with their Python files seen from the job file's folder."""
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list):
        return value
    plain = [name.strip() if isinstance(name, str) else name for name in names]
    return [str(folder / n) if isinstance(n, str) and n.endswith(".py") else n for n in plain]


def _kind(content: object) -> str:
    return "empty" if content is None else f"a {type(content).__name__}"
