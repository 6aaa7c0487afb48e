"""The command that repeats a run."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from distq.config import AutoOptions, CalibrateOptions, TuneOptions
from distq.options import on_command_line

_KINDS: dict[str, type[CalibrateOptions]] = {
    "calibrate": CalibrateOptions,
    "tune": TuneOptions,
    "auto": AutoOptions,
}
_LEFT_OUT = {"model", "resume", "report"}


def command_of(record: Mapping[str, Any]) -> str:
    """One line for a shell; empty where ``run.json`` does not have the options.

    Options that have their default are left out.
    """
    options, command = record.get("options"), str(record.get("job", {}).get("command", ""))
    if not isinstance(options, dict) or command not in _KINDS:
        return ""
    words = ["distq", command, str(options.get("model", "MODEL"))]
    fields = _KINDS[command].model_fields
    for name, value in options.items():
        if name in _LEFT_OUT or value in (None, [], "") or name not in fields:
            continue
        default = fields[name].default
        if value != default:
            words += _flag(name, value)
    return shlex.join(words)


def _flag(name: str, value: object) -> Iterator[str]:
    if value is False:
        yield "--no-" + name.replace("_", "-")
    elif value is True:
        yield on_command_line(name)
    elif name == "tries" and isinstance(value, list):
        for one in value:
            yield from (on_command_line(name), str(one))
    elif name == "input_shape" and isinstance(value, list):
        for tensor, sizes in value:
            yield from (on_command_line(name), f"{tensor}={','.join(map(str, sizes))}")
    elif name in {"input_value", "state"} and isinstance(value, list):
        for taken, given in value:
            yield from (on_command_line(name), f"{taken}={given}")
    else:
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        yield from (on_command_line(name), text)
