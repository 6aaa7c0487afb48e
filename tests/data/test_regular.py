"""Only regular files are read."""

from __future__ import annotations

import io
import os
import socket
import zipfile

import numpy as np
import pytest
from data_helpers import image_input, picture, write_picture

from distq.calibration.distributions import DistributionSet
from distq.data.dataset import DatasetSpec, UnreadableSample
from distq.data.info import describe_source
from distq.data.manifest import manifest
from distq.data.preprocess import load_preprocessing
from distq.data.remote import read_url
from distq.data.sniff import open_source
from distq.data.text_list import TextListSource
from distq.errors import DataError, FileFormatError, PreprocessError
from distq.regular import open_regular, read_regular

INPUT = image_input(3, 4, 6)


@pytest.fixture
def specials(tmp_path):
    """A pipe nobody writes to, a socket nobody answers, and a folder, each called like an image."""
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "socket.png"))
        yield tmp_path


KINDS = [("pipe.png", "a named pipe"), ("folder.png", "a folder"), ("socket.png", "a socket")]


@pytest.mark.parametrize(("name", "kind"), [*KINDS, ("/dev/null", "a device"), ("/dev/zero", "a device")])
def test_what_is_no_regular_file_is_said(specials, name, kind):
    for read in (read_regular, open_regular):
        with pytest.raises(OSError, match=f"it is {kind}, not a regular file"):
            read(specials / name)


def test_a_link_to_a_file_is_read(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert read_regular(tmp_path / "link") == b"content"


@pytest.mark.parametrize(("name", "kind"), [*KINDS, ("/dev/zero", "a device")])
def test_an_entry_of_a_list_is_named(specials, name, kind):
    write_picture(specials / "good.png", picture(4, 6))
    (specials / "list.txt").write_text(f"good.png\n{name}\n")
    spec = DatasetSpec(str(specials / "list.txt"), (INPUT,))
    with pytest.raises(UnreadableSample, match=rf"{name} cannot be read: it is {kind}"):
        spec.open().load(1)
    assert manifest(spec, [0, 1]).selected == 2
    assert f"it is {kind}" in describe_source(specials / "list.txt").shapes[1][0]


@pytest.mark.parametrize("name", ["pipe.png", "socket.png"])
def test_a_file_of_a_folder_is_named(specials, name):
    spec = DatasetSpec(str(specials), (INPUT,))
    names = [spec.open().name(i) for i in range(2)]
    with pytest.raises(UnreadableSample, match=f"{name} cannot be read"):
        spec.open().load(names.index(name))
    assert manifest(spec, [0, 1]).selected == 2


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_so_is_an_array_of_a_list_or_folder(tmp_path, name):
    os.mkfifo(tmp_path / name)
    (tmp_path / "list.txt").write_text(f"{name}\n")
    for source in (tmp_path, tmp_path / "list.txt"):
        with pytest.raises(UnreadableSample, match=f"{name} cannot be read: it is a named pipe"):
            DatasetSpec(str(source), (INPUT,)).open().load(0)


@pytest.mark.parametrize("name", ["list.txt", "x.npy", "x.npz"])
def test_a_source_that_is_a_pipe_is_refused(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(DataError, match=f"{name} is no regular file"):
        open_source(tmp_path / name, ("x",))


def test_lists_databases_steps_and_plug_ins_wait_for_no_pipe(tmp_path):
    for name in ("labels.txt", "p.yaml", "image.png", "data.mdb"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(DataError, match=r"labels\.txt cannot be read: it is a named pipe"):
        TextListSource(tmp_path / "labels.txt", ("x",))
    with pytest.raises(PreprocessError, match=r"p\.yaml cannot be read: it is a named pipe"):
        load_preprocessing(tmp_path / "p.yaml")
    with pytest.raises(DataError, match=r"data\.mdb cannot be read: it is a named pipe"):
        open_source(tmp_path, ("x",))
    (tmp_path / "plugin.py").write_text("def image_preprocess(img_path, norm=True):\n    open(img_path)\n")
    (tmp_path / "list.txt").write_text("image.png\n")
    plugged = DatasetSpec.create(
        tmp_path / "list.txt", [INPUT], preprocess=tmp_path / "plugin.py", allow_code=True
    )
    with pytest.raises(UnreadableSample, match=r"image\.png cannot be read: it is a named pipe"):
        plugged.open().load(0)
    with pytest.raises(UnreadableSample, match="it is a named pipe"):
        read_url((tmp_path / "image.png").as_uri())


def sparse(path, gigabytes):
    """A file of so many zeros, which take no room on the disk."""
    with path.open("wb") as stream:
        stream.truncate(int(gigabytes * (1 << 30)))
    return path


def test_the_line_of_an_entry_is_named(specials):
    (specials / "list.txt").write_text("# photos\n\ngood.png\npipe.png 3\n")
    spec = DatasetSpec(str(specials / "list.txt"), (INPUT,))
    with pytest.raises(UnreadableSample, match=r"pipe\.png cannot be read: .* \(.*list\.txt line 4\)"):
        spec.open().load(1)


@pytest.mark.parametrize("name", ["x.png", "x.npy"])
def test_a_file_of_200_gigabytes_is_not_read(tmp_path, name):
    sparse(tmp_path / name, 200)
    (tmp_path / "list.txt").write_text(f"{name}\n")
    spec = DatasetSpec(str(tmp_path / "list.txt"), (INPUT,))
    with pytest.raises(UnreadableSample, match=r"it has 200\.0 GiB, over the limit of 1 GiB"):
        spec.open().load(0)
    assert manifest(spec, [0]).selected == 1


def test_a_list_without_line_ends_is_not_read(tmp_path):
    (tmp_path / "list.txt").write_text("a" * 70_000)
    with pytest.raises(DataError, match=r"list\.txt is no UTF-8 text list"):
        TextListSource(tmp_path / "list.txt", ("x",))


def zeros(path, values):
    """An .npz of so many zeros, by its directory alone: nothing of it can be read."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (values,)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", header.getvalue())
        archive.infolist()[0].file_size = 4 * values
    return path


def test_an_archive_larger_than_memory_is_refused_at_once(tmp_path):
    (tmp_path / "samples").mkdir()
    with pytest.raises(DataError, match=r"holds 37252\.9 GiB, and this process can have .* save an \.npy"):
        open_source(zeros(tmp_path / "x.npz", 10**13), ("x",))
    zeros(tmp_path / "samples" / "x.npz", 10**13)
    with pytest.raises(UnreadableSample, match=r"37252\.9 GiB, over the limit"):
        open_source(tmp_path / "samples", ("x",)).read(0)
    with pytest.raises(FileFormatError, match=r"37252\.9 GiB, over the limit"):
        DistributionSet.load(tmp_path / "x.npz")
