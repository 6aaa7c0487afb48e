"""The best network so far of a run that goes on: kept by the run, read by whoever asks, at any time.

Behind each stage that makes it better the run keeps its network in ``best_so_far/`` and notes it in the
journal. What the search moves since then is noted tensor by tensor, with the constants that follow from it.
Both together are the network as the run has it now, to the byte. Who reads takes no lock and writes nothing.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf ships no types
from onnx.external_data_helper import uses_external_data

from distq.engine.journal import Journal
from distq.engine.journal_read import read_records
from distq.engine.packing import pack_arrays, unpack_arrays
from distq.errors import FileFormatError, UsageError
from distq.files import BROKEN_ARCHIVE, atomic_copy, atomic_write, cannot_write, sha256_file
from distq.graph.weight_files import content_key
from distq.quant.table import Row, Table, dump_table, read_table, table_csv
from distq.regular import read_regular
from distq.run.rundir import RunDir, weights_of, write_network
from distq.run.which_run import job_of_run

_NETWORK, _MOVED, _UNDONE = "network", "moved", "undone"
_TRIES = 3
"""Times that it is read, where the run replaces its network meanwhile."""

_T = TypeVar("_T")


class NetworkReplacedError(FileFormatError):
    """A run that goes on has put another network in the place of the one that was being read."""

    def __init__(self, path: Path) -> None:
        """``path`` was read and is not what the journal says."""
        super().__init__(
            f"{path} is another than the run noted, or gone: try again, or continue the run with --resume"
        )


@dataclass(frozen=True)
class BestSoFar:
    """The best network of a run that goes on.

    Attributes:
        stage: what the run did last to the network as it keeps it, such as ``calibrated``.
        moved: tensors whose thresholds the search has moved since.
        table: a row for every quantized tensor, as ``thresholds.json`` has it.
        calibrated: the table that the run began with, of the network as it was given.
        float_layers: what stays float, with the reason.
    """

    stage: str
    moved: tuple[str, ...]
    table: Table
    calibrated: Table
    float_layers: tuple[tuple[str, str], ...]
    _path: Path
    _constants: Mapping[str, npt.NDArray[Any]] = field(repr=False)
    _equalized: Mapping[Path, str] = field(repr=False)

    @property
    def evened(self) -> bool:
        """Whether channels were evened out, so that ``table`` is not of the network as it was given."""
        return any(row.has_headroom for row in self.table.values())

    def model(self) -> bytes:
        """The QDQ model; large weights, where it has them, lie where ``write`` puts them.

        Raises:
            NetworkReplacedError: the run has replaced it by a better one meanwhile.
        """
        try:
            proto = onnx.load_model_from_string(read_regular(self._path))
        except FileNotFoundError as error:
            raise NetworkReplacedError(self._path) from error
        except (OSError, DecodeError) as error:
            raise FileFormatError(f"{self._path} is damaged: remove it and continue with --resume") from error
        for tensor in proto.graph.initializer:
            if (array := self._constants.get(tensor.name)) is not None:
                tensor.data_type = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
                tensor.raw_data = array.tobytes()
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = RunDir(Path()).weights.name
        return bytes(proto.SerializeToString(deterministic=True))

    def write(self, folder: RunDir) -> set[Path]:
        """Write model, table and the equalized network under the names that a finished run gives them.

        Returns:
            What was written.

        Raises:
            NetworkReplacedError: the run has replaced the network by a better one meanwhile.
            ExecutionError: the disk does not take them.
        """
        model, large = self.model(), weights_of(self._path)
        written = {folder.model, folder.thresholds, folder.tensors}
        if any(map(uses_external_data, onnx.load_model_from_string(model).graph.initializer)):
            _copy(large, folder.weights)
            written.add(folder.weights)
        for path, sha256 in self._equalized.items():
            copy = folder.path / path.name
            _copy(path, copy)
            written.add(copy)
            if sha256_file(copy) != sha256:
                raise NetworkReplacedError(path)
        atomic_write(folder.thresholds, dump_table(self.table))
        atomic_write(folder.tensors, table_csv(self.table))
        atomic_write(folder.model, model)
        return written


def keep_network(
    rundir: RunDir,
    journal: Journal,
    exported: bytes,
    table: bytes,
    *,
    equalized: Callable[[], bytes | None],
    stage: str,
    float_layers: Sequence[tuple[str, str]],
) -> None:
    """Keep a network as the best so far, in place of the one before.

    A run that is continued goes through its networks again; those it had noted are passed over.

    Args:
        rundir: of the run.
        journal: of the run.
        exported: the QDQ model.
        table: content of its ``thresholds.json``.
        equalized: gives the float network that it is of, where that is not the user's, else None; called
            only where the network is kept.
        stage: what was done to it last.
        float_layers: what stays float, with the reason.

    Raises:
        ExecutionError: the disk does not take it.
    """
    key = content_key(exported)
    noted = [note["key"] for note in journal.notes(_NETWORK)]
    path = _model_in(rundir, key)
    if key in noted and (key != noted[-1] or path.is_file()):
        return
    try:
        rundir.best.mkdir(exist_ok=True)
    except OSError as error:
        raise cannot_write(rundir.best, error) from error
    rundir.write_equalized(equalized())
    evened = {path.name: sha256_file(path) for path in _equalized_in(rundir) if path.is_file()}
    write_network(path, exported)
    atomic_write(_table_in(rundir, key), table)
    if key not in noted:
        floats = [list(layer) for layer in float_layers]
        journal.note(_NETWORK, stage=stage, key=key, float_layers=floats, equalized=evened)
    for old in {_model_in(rundir, one) for one in noted} - {path}:
        old.unlink(missing_ok=True)
        weights_of(old).unlink(missing_ok=True)


def note_moved(
    journal: Journal, network: str, name: str, row: Row, constants: Mapping[str, npt.NDArray[Any]]
) -> None:
    """Note that a search moved a threshold, once.

    Args:
        journal: of the run.
        network: key of the one that the search began with (:func:`distq.graph.weight_files.content_key`).
        name: of the quantizer.
        row: it has now.
        constants: of the exported model that follow from it.
    """
    if any((note["of"], note["name"]) == (network, name) for note in journal.notes(_MOVED)):
        return
    packed = base64.b64encode(pack_arrays(dict(constants))).decode("ascii")
    journal.note(_MOVED, of=network, name=name, row=asdict(row), constants=packed)


def note_undone(journal: Journal, network: str) -> None:
    """Note that nothing that a search moved is kept, once."""
    if all(note["of"] != network for note in journal.notes(_UNDONE)):
        journal.note(_UNDONE, of=network)


def read_best_so_far(rundir: RunDir) -> BestSoFar:
    """The best network so far of a run that another process may be at.

    Raises:
        UsageError: it is no run, or has no network yet.
        NetworkReplacedError: the run has just replaced it, or ended.
        FileFormatError: what it keeps is damaged.
    """
    job_of_run(rundir)
    notes = _notes(rundir) if rundir.journal.is_file() else []
    networks = [fields for kind, fields in notes if kind == _NETWORK]
    if not networks:
        raise UsageError(
            f"{rundir.path} has no network yet: wait until it is calibrated ('distq watch' shows it), "
            "or continue it with --resume if it was interrupted"
        )
    first, last = _table_in(rundir, networks[0]["key"]), _table_in(rundir, networks[-1]["key"])
    for path in (first, last):
        if not path.is_file():
            raise NetworkReplacedError(path)
    stage, key = str(networks[-1]["stage"]), networks[-1]["key"]
    moved = [fields for kind, fields in notes if kind == _MOVED and fields["of"] == key]
    evened = dict(networks[-1].get("equalized", {}))
    return BestSoFar(
        stage=stage,
        moved=tuple(str(fields["name"]) for fields in moved),
        table=_with_rows(read_table(last), moved),
        calibrated=read_table(first),
        float_layers=tuple((str(name), str(why)) for name, why in networks[-1]["float_layers"]),
        _path=_model_in(rundir, key),
        _constants=_constants(rundir, moved),
        _equalized={path: evened[path.name] for path in _equalized_in(rundir) if path.name in evened},
    )


def until_it_stays(read: Callable[[], _T]) -> _T:
    """What ``read`` gives, which is called again where the run replaces its network meanwhile.

    Raises:
        NetworkReplacedError: it does so each time, or the network was taken away.
    """
    for _ in range(_TRIES - 1):
        with suppress(NetworkReplacedError):
            return read()
    return read()


def _notes(rundir: RunDir) -> list[tuple[str, dict[str, Any]]]:
    found, undone = [], set[str]()
    for record in read_records(rundir.journal):
        match record:
            case {"type": "note", "kind": "network", "fields": {"key": str(), "float_layers": list()}}:
                found.append((_NETWORK, record["fields"]))
            case {"type": "note", "kind": "moved", "fields": {"of": str(), "name": str(), "row": dict()}}:
                found.append((_MOVED, record["fields"]))
            case {"type": "note", "kind": "undone", "fields": {"of": str(network)}}:
                undone.add(network)
    return [(kind, fields) for kind, fields in found if kind != _MOVED or fields["of"] not in undone]


def _with_rows(table: Table, moved: Iterable[Mapping[str, Any]]) -> Table:
    """A table with rows that the search moved, and those of tensors that share their quantizers."""
    rows = {str(fields["name"]): Row(**fields["row"]) for fields in moved}
    changed = dict(table)
    for tensor, row in table.items():
        own = rows.get(row.tied_to or tensor)
        if own is not None:
            changed[tensor] = replace(own, tied_to=row.tied_to)
    return changed


def _constants(rundir: RunDir, moved: Iterable[Mapping[str, Any]]) -> dict[str, npt.NDArray[Any]]:
    found: dict[str, npt.NDArray[Any]] = {}
    for fields in moved:
        try:
            arrays = unpack_arrays(base64.b64decode(fields["constants"]))
        except (*BROKEN_ARCHIVE, KeyError, TypeError) as error:
            raise FileFormatError(f"{rundir.journal} is damaged at {fields['name']}") from error
        found.update({name: np.asarray(array) for name, array in arrays.items()})
    return found


def _copy(source: Path, path: Path) -> None:
    if not source.is_file():
        raise NetworkReplacedError(source)
    atomic_copy(source, path)


def _equalized_in(rundir: RunDir) -> tuple[Path, Path]:
    return rundir.equalized, rundir.equalized_weights


def _model_in(rundir: RunDir, key: str) -> Path:
    return rundir.best / f"{key}.onnx"


def _table_in(rundir: RunDir, key: str) -> Path:
    return rundir.best / f"{key}.json"
