"""The folder a run leaves: every file name in it, and whose it is."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distq.data.recorded import is_recorded
from distq.errors import FileFormatError, UsageError
from distq.files import atomic_write, make_run_folder, write_first

_FOLLOWS = {"data", "holdout"}
"""Fields that also change with others, such as --samples: those are named first."""


@dataclass(frozen=True)
class RunDir:
    """Knows the files of a run; makes nothing by itself."""

    path: Path

    @property
    def run(self) -> Path:
        """The resolved job, versions and identities; written first."""
        return self.path / "run.json"

    @property
    def distributions(self) -> Path:
        """Counts of all observed tensors."""
        return self.path / "distributions.npz"

    @property
    def thresholds(self) -> Path:
        """The table the run ends with."""
        return self.path / "thresholds.json"

    @property
    def calibrated(self) -> Path:
        """The table a search started from."""
        return self.path / "thresholds.calibrated.json"

    @property
    def tensors(self) -> Path:
        """The same table for a spreadsheet."""
        return self.path / "tensors.csv"

    @property
    def model(self) -> Path:
        """The QDQ model."""
        return self.path / "model.int8.onnx"

    @property
    def metrics(self) -> Path:
        """Accuracy and cost; written last, so it marks a finished run."""
        return self.path / "metrics.json"

    @property
    def journal(self) -> Path:
        """Finished units and decided layers."""
        return self.path / "journal.jsonl"

    @property
    def data(self) -> Path:
        """Samples that were given by Python."""
        return self.path / "data"

    @property
    def free(self) -> bool:
        """Whether a new run may begin here: there is nothing, or only samples recorded for it."""
        if not self.path.exists():
            return True
        return self.path.is_dir() and all(map(is_recorded, self.path.iterdir()))

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return self.metrics.is_file()

    def files(self) -> tuple[Path, ...]:
        """The files for a user that are there."""
        return tuple(path for path in self.every_file() if path.is_file())

    def every_file(self) -> tuple[Path, ...]:
        """The files for a user that a run may have."""
        return (
            self.model,
            self.thresholds,
            self.tensors,
            self.calibrated,
            self.metrics,
            self.run,
            self.distributions,
        )

    def claim(self, identity: dict[str, Any], *, resume: bool) -> bool:
        """Take the folder for a job.

        Args:
            identity: fields of the job that decide its result; what a resumed run must share.
            resume: continue what is there.

        Returns:
            Whether this call made the folder.

        Raises:
            UsageError: the folder is taken, cannot be made, or holds another job (the field is named).
            ExecutionError: the disk does not take its first file.
        """
        if self.free:
            make_run_folder(self.path)
            try:
                write_first(self.run, _as_json({"job": identity}))
            except FileExistsError:
                raise UsageError(f"{self.path} has just been taken by a run: give another --out") from None
            return True
        if not resume:
            raise UsageError(f"{self.path} exists: give another --out, or --resume to continue the run in it")
        theirs = self.identity()
        for field in sorted({*identity, *theirs}, key=lambda name: (name in _FOLLOWS, name)):
            if theirs.get(field) != identity.get(field):
                raise UsageError(
                    f"{self.path} holds another job: its {field} is {json.dumps(theirs.get(field))}, "
                    f"this one's {json.dumps(identity.get(field))}; give another --out"
                )
        return False

    def identity(self) -> dict[str, Any]:
        """The job whose folder this is.

        Raises:
            UsageError: the folder is not a run of distq.
        """
        try:
            job = json.loads(self.run.read_bytes())["job"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{self.path} is not a run of distq, or its run.json is damaged: give another --out"
            ) from error
        if not isinstance(job, dict):
            raise UsageError(f"{self.run} is damaged: give another --out")
        return job

    def read_metrics(self) -> dict[str, Any]:
        """What ``metrics.json`` holds.

        Raises:
            FileFormatError: damaged.
        """
        try:
            content = json.loads(self.metrics.read_bytes())
        except (OSError, ValueError) as error:
            raise FileFormatError(
                f"{self.metrics} is damaged: remove it and continue with --resume"
            ) from error
        if not isinstance(content, dict):
            raise FileFormatError(f"{self.metrics} is damaged: remove it and continue with --resume")
        return content

    def write_json(self, path: Path, content: dict[str, Any]) -> None:
        """Write a JSON file atomically."""
        atomic_write(path, _as_json(content))

    def remove_leftovers(self) -> None:
        """Delete what writers that were killed left; only for who holds the journal's lock."""
        for path in self.every_file():
            for leftover in self.path.glob(f".{path.name}.*"):
                leftover.unlink(missing_ok=True)

    def discard(self, *, keep_folder: bool = False) -> None:
        """Remove what a job wrote since :meth:`claim`, when it turned out to be impossible.

        Samples that were recorded for it stay: a generator may have taken long, and gives them only once.

        Args:
            keep_folder: leave the empty folder that was there before.
        """
        recorded = {child for child in self.path.iterdir() if is_recorded(child)}
        if recorded:
            for child in {*self.path.iterdir()} - recorded:
                shutil.rmtree(child) if child.is_dir() else child.unlink(missing_ok=True)
            return
        shutil.rmtree(self.path, ignore_errors=True)
        if keep_folder:
            self.path.mkdir(exist_ok=True)


def _as_json(content: dict[str, Any]) -> bytes:
    """A file's content as JSON for people to read."""
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()
