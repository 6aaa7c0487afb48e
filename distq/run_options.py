"""The options of what looks at runs: ``distq report``, ``distq export`` and ``distq watch``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class ReportOptions(BaseModel):
    """Options of ``distq report``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    runs: Annotated[tuple[Path, ...], Field(min_length=1)]
    out: Path
    measured: tuple[Path, ...] = ()
    images: bool = True
    model_explorer: bool = False


class ExportOptions(BaseModel):
    """Options of ``distq export``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: Path
    out: Path
    best_so_far: bool = False


class WatchOptions(BaseModel):
    """Options of ``distq watch``; ``run`` is a folder, or the id of a submitted job."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: Path
    every: Annotated[float, Field(ge=0.1, le=3600)] = 2.0
    address: str | None = None
