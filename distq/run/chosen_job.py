"""The job file that makes again what ``distq auto`` chose, without ``auto``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml

from distq.config import AutoOptions, CalibrateOptions, TuneOptions
from distq.urls import shown, url_of

_NOT_ITS_OWN = frozenset({"out", "resume", "dump_dist", "time"})


def chosen_job(options: AutoOptions, command: Literal["calibrate", "tune"], *, tuning: int) -> bytes:
    """A job file beside which its run will lie.

    Args:
        options: that make the network.
        command: of the job.
        tuning: samples that were measured on.
    """
    kind = TuneOptions if command == "tune" else CalibrateOptions
    left_out = {*_NOT_ITS_OWN, *(("measure", "diff") if _made_in_python(options) else ())}
    names = [n for n in kind.model_fields if n in options.model_fields_set - left_out]
    plain = options.model_dump(mode="json", include=set(names))
    values = {name: _anywhere(name, getattr(options, name), plain[name]) for name in names}
    job: dict[str, object] = {"command": command, **values}
    if command == "tune":
        job["tune_samples"] = tuning
    job["out"] = "chosen"
    text = yaml.safe_dump(job, sort_keys=False, allow_unicode=True)
    return f"# distq run {shown(options.out)}/chosen.yaml makes the chosen network again\n{text}".encode()


def _made_in_python(options: AutoOptions) -> bool:
    """Whether a measure is an object of Python, which no file can name."""
    return any(not isinstance(one, str) for one in (*options.measure, options.diff))


def _anywhere(name: str, value: object, plain: object) -> object:
    """A value as the job file needs it: paths start at the root, and input shapes are a mapping."""
    if name in {"input_shape", "input_value", "state"} and isinstance(value, tuple):
        return {key: list(given) if name == "input_shape" else given for key, given in value}
    if name == "measure" and isinstance(value, tuple):
        return [_anywhere("diff", one, one) for one in value]
    if name == "diff":
        return str(Path(str(value)).absolute()) if str(value).endswith(".py") else value
    if not isinstance(value, Path) or url_of(value) is not None:
        return plain
    if name == "preprocess" and not value.exists():
        return ",".join(str(Path(part.strip()).absolute()) for part in str(value).split(","))
    return str(value.absolute())
