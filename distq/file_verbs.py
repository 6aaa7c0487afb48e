"""The functions of the Python interface that read and write files: tables, networks and data sets.

Jobs are imported when called, as in :mod:`distq.verbs`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distq.data.build import BuildReport
    from distq.engine.progress import Reporter
    from distq.jobs.convert_network import ConvertedNetwork
    from distq.jobs.convert_table import ConvertResult
    from distq.jobs.dataset_info import DataInfo

FilePath = str | os.PathLike[str]


def convert_network(
    source: FilePath,
    out: FilePath,
    *,
    weights: FilePath | None = None,
    reporter: Reporter | None = None,
) -> ConvertedNetwork:
    """Write a Caffe network as an ONNX model.

    Args:
        source: The .prototxt.
        out: The .onnx file; one that exists is replaced.
        weights: The caffemodel; None: the one of the same name beside ``source``.
        reporter: Told of warnings; silent by default.

    Returns:
        The shapes of its inputs and outputs, and notes on what was passed over.

    Raises:
        InputError: The network cannot be read or converted (exit code 2 of the command).
        ExecutionError: The file cannot be written (exit code 3).
    """
    from distq.engine.progress import SilentReporter  # noqa: PLC0415  # lazy, see above
    from distq.jobs.convert_network import convert_network as job  # noqa: PLC0415  # lazy, see above

    return job(
        Path(source), None if weights is None else Path(weights), Path(out), reporter or SilentReporter()
    )


def convert(
    source: FilePath, *, to: str, out: FilePath, reporter: Reporter | None = None, **options: object
) -> ConvertResult:
    """Write a threshold table, or those of a run, in another tool's format.

    Args:
        source: The table, recognised by its content, or a run's folder.
        to: The format to write, as ``distq convert --help`` lists them.
        out: The file to write.
        reporter: Told of warnings; silent by default.
        **options: ``source_format``, ``model``, ``weights``, ``names``, ``convention``,
            ``source_convention``.

    Returns:
        What was written, and what the format cannot say.

    Raises:
        InputError: The table, the model or an option cannot be used (exit code 2 of the command).
        ExecutionError: The file cannot be written (exit code 3).
    """
    from distq.config import ConvertOptions  # noqa: PLC0415  # lazy, see above
    from distq.engine.progress import SilentReporter  # noqa: PLC0415  # lazy, see above
    from distq.jobs.convert_table import convert_table as job  # noqa: PLC0415  # lazy, see above
    from distq.options import make_options  # noqa: PLC0415  # lazy, see above

    values = {"source": source, "to": to, "out": out, **options}
    return job(make_options(ConvertOptions, values), reporter or SilentReporter())


def build_dataset(root: FilePath, list_file: FilePath, database: FilePath, **options: object) -> BuildReport:
    """Build a Caffe LMDB of a list of images.

    Args:
        root: Folder the listed paths start at.
        list_file: Lines ``relative/path label``.
        database: The LMDB folder to make.
        **options: Flags of ``distq dataset build --help``, such as ``resize_width=256``, ``encoded=True``.

    Raises:
        InputError: The list, the images or an option cannot be used (exit code 2 of the command).
    """
    from distq.data.build import BuildOptions, build_lmdb  # noqa: PLC0415  # lazy, see above
    from distq.options import make_options  # noqa: PLC0415  # lazy, see above

    return build_lmdb(Path(root), Path(list_file), Path(database), make_options(BuildOptions, options))


def dataset_info(source: FilePath) -> DataInfo:
    """What a data source holds, and what a preprocessing file or a prototxt's data layer means as YAML.

    Args:
        source: Anything that ``data`` or ``preprocess`` of the jobs may be.

    Raises:
        InputError: It cannot be used (exit code 2 of the command).
    """
    from distq.jobs.dataset_info import dataset_info as job  # noqa: PLC0415  # lazy, see above

    return job(Path(source))
