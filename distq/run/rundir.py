"""The folder a run leaves: every file name in it, and whose it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distq.data.recorded import is_recorded
from distq.errors import FileFormatError, UsageError
from distq.files import atomic_write, make_run_folder, out_is_taken, sha256_bytes, sha256_file, write_first
from distq.graph import weight_files
from distq.regular import read_regular
from distq.run.seal import RUN_JSON, as_json, damaged_files, read_sealed, sealed

_FOLLOWS = {"data", "holdout"}
"""Fields that also change with others, such as --samples: those are named first."""


@dataclass(frozen=True)
class RunDir:
    """Knows the files of a run; makes nothing by itself."""

    path: Path

    @property
    def run(self) -> Path:
        """The resolved job, versions and identities; written first."""
        return self.path / RUN_JSON

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
    def weights(self) -> Path:
        """The large weights of the QDQ model, where it has more than one file."""
        return weights_of(self.model)

    @property
    def equalized(self) -> Path:
        """The float network whose thresholds these are, where channels were evened out in the user's."""
        return self.path / "model.equalized.onnx"

    @property
    def equalized_weights(self) -> Path:
        """Its large weights, as :attr:`weights`."""
        return weights_of(self.equalized)

    @property
    def chosen_job(self) -> Path:
        """The job file of what ``auto`` chose."""
        return self.path / "chosen.yaml"

    @property
    def pareto(self) -> Path:
        """Measure against cost of all that ``auto`` tried."""
        return self.path / "pareto.csv"

    @property
    def qtable(self) -> Path:
        """TPU-MLIR's list of layers that ``auto`` left out of INT8."""
        return self.path / "qtable.txt"

    @property
    def metrics(self) -> Path:
        """Accuracy and cost; written last, so it marks a finished run."""
        return self.path / "metrics.json"

    @property
    def journal(self) -> Path:
        """Finished units and decided layers."""
        return self.path / "journal.jsonl"

    @property
    def parts(self) -> Path:
        """Large results, which belong to the journal of a run that is not finished."""
        return self.path / "parts"

    @property
    def best(self) -> Path:
        """The best network so far, while the run goes on."""
        return self.path / "best_so_far"

    @property
    def report(self) -> Path:
        """The page that shows all of this."""
        return self.path / "report.html"

    @property
    def data(self) -> Path:
        """Samples that were given by Python."""
        return self.path / "data"

    @property
    def states(self) -> Path:
        """Samples of a recurrent model with the states that they find."""
        return self.path / "states"

    @property
    def held_out_states(self) -> Path:
        """The same of samples that are held out, where these are other data."""
        return self.path / "holdout_states"

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
        tables = (self.thresholds, self.tensors, self.calibrated)
        answer = (self.chosen_job, self.pareto, self.qtable)
        rest = (self.metrics, self.run, self.distributions, self.report)
        models = (self.model, self.weights, self.equalized, self.equalized_weights)
        return (*models, *tables, *answer, *rest)

    def write_model(self, model: bytes) -> None:
        """Write the QDQ model, with its weights beside it where they lie in files."""
        write_network(self.model, model)

    def write_equalized(self, model: bytes | None) -> None:
        """Write the float network with equalized channels in the same way; None: there is none."""
        if model is not None:
            write_network(self.equalized, model)
            return
        for path in (self.equalized, self.equalized_weights):
            path.unlink(missing_ok=True)

    def claim(
        self, identity: dict[str, Any], *, resume: bool, options: Mapping[str, Any] | None = None
    ) -> bool:
        """Take the folder for a job.

        Args:
            identity: fields of the job that decide its result; what a resumed run must share.
            resume: continue what is there.
            options: written beside them, for who looks while the run goes on.

        Returns:
            Whether this call made the folder.

        Raises:
            UsageError: the folder is taken, cannot be made, or holds another job (the field is named).
            ExecutionError: the disk does not take its first file.
        """
        if self.free:
            make_run_folder(self.path)
            try:
                given = {} if options is None else {"options": dict(options)}
                write_first(self.run, sealed({"job": identity, **given}))
            except FileExistsError:
                raise UsageError(f"{self.path} has just been taken by a run: give another --out") from None
            return True
        if not resume:
            raise out_is_taken(self.path, "run", begun=self.run.exists())
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
            job = read_sealed(self.run)["job"]
        except FileNotFoundError as error:
            raise UsageError(f"{self.path} is not a run of distq: give another --out") from error
        except (OSError, ValueError, KeyError, RecursionError) as error:
            raise UsageError(
                f"{self.run} is damaged, or not of a run of distq: give another --out"
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
            content = json.loads(read_regular(self.metrics))
        except (OSError, ValueError, RecursionError) as error:
            raise FileFormatError(
                f"{self.metrics} is damaged: remove it and continue with --resume"
            ) from error
        if not isinstance(content, dict):
            raise FileFormatError(f"{self.metrics} is damaged: remove it and continue with --resume")
        return content

    def damaged(self) -> tuple[Path, ...]:
        """Files of a finished run that are not what it wrote; none where ``run.json`` does not say."""
        try:
            return damaged_files(self.path)
        except (OSError, ValueError, RecursionError):
            return ()  # :meth:`claim` says it

    def close(self, record: dict[str, Any], metrics: dict[str, Any]) -> None:
        """Write ``run.json``, with the SHA-256 of every file, and ``metrics.json``: the run is finished.

        Raises:
            ExecutionError: the disk does not take them.
        """
        last = as_json(metrics)
        own = {self.run, self.metrics, self.report}
        files = {path.name: sha256_file(path) for path in self.files() if path not in own}
        atomic_write(self.run, sealed(record, {**files, self.metrics.name: sha256_bytes(last)}))
        atomic_write(self.metrics, last)

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


def weights_of(model: Path) -> Path:
    """The large weights of a network, where it has more than one file."""
    return model.with_name(f"{model.name}.data")


def write_network(path: Path, model: bytes) -> None:
    """Write a network; of a very large one the weights lie beside it.

    Raises:
        ExecutionError: the disk does not take them.
    """
    outside = weight_files.outside_bytes(model)
    if len(model) + outside > weight_files.MOST_IN_ONE_FILE:
        atomic_write(path, weight_files.beside(model, weights_of(path)) if outside else model)
        return
    atomic_write(path, weight_files.inside(model) if outside else model)
    weights_of(path).unlink(missing_ok=True)
