"""A user's Python file for preprocessing."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from data_helpers import image_input, picture, raw_datum, write_lmdb, write_picture

from distq.data.dataset import DatasetSpec, UnreadableSample
from distq.data.plugin import Plugin
from distq.data.preprocess import load_preprocessing
from distq.errors import DataError, PreprocessError

NHWC = """
from dataclasses import dataclass
import cv2
import numpy as np

@dataclass
class Settings:
    scale: float = 2.0

def image_preprocess(img_path, norm=True):
    assert norm is True
    return (cv2.imread(img_path).astype(np.float32) * Settings().scale)[None]
"""


@pytest.fixture
def photos(tmp_path):
    for index in range(2):
        write_picture(tmp_path / "photos" / f"{index}.png", picture(4, 6, index))
    return tmp_path / "photos"


def write(tmp_path, code):
    (tmp_path / "plug.py").write_text(code)
    return tmp_path / "plug.py"


def create(photos, plugin, spec):
    return DatasetSpec.create(photos, [spec], preprocess=plugin, allow_code=True)


def test_code_does_not_run_without_permission(tmp_path):
    path = write(tmp_path, f"open({str(tmp_path / 'ran')!r}, 'w').close()")
    with pytest.raises(PreprocessError, match=r"plug\.py is Python code: give --allow-code"):
        load_preprocessing(path)
    assert not (tmp_path / "ran").exists()


def test_it_is_known_by_its_hash(tmp_path):
    plugin = load_preprocessing(write(tmp_path, NHWC), allow_code=True)
    digest = hashlib.sha256(NHWC.encode()).hexdigest()
    assert plugin == Plugin(str(tmp_path / "plug.py"), digest)
    assert plugin.describe() == {"plugin": "plug.py", "sha256": digest}


def test_nhwc_is_turned_where_the_model_wants_nchw(tmp_path, photos):
    plugin = write(tmp_path, NHWC)
    wanted = picture(4, 6, 1).astype(np.float32)[np.newaxis] * 2
    sample = create(photos, plugin, image_input(3, 4, 6)).open().load(1)
    np.testing.assert_array_equal(sample.inputs["data"], wanted.transpose(0, 3, 1, 2))
    sample = create(photos, plugin, image_input(4, 6, 3)).open().load(1)
    np.testing.assert_array_equal(sample.inputs["data"], wanted)


def test_what_fits_already_is_left_alone(tmp_path, photos):
    plugin = write(tmp_path, "import numpy as np\ndef image_preprocess(p, norm=True): return np.ones((1, 7))")
    sample = create(photos, plugin, image_input(7)).open().load(0)
    np.testing.assert_array_equal(sample.inputs["data"], np.ones((1, 7), np.float32))


def test_a_wrong_size_names_input_and_sizes(tmp_path, photos):
    with pytest.raises(DataError, match=r"input 'data' of sample 0\.png is 4x6x3, the model takes 3x9x9"):
        create(photos, write(tmp_path, NHWC), image_input(3, 9, 9)).open().load(0)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("x = (", "does not load: SyntaxError"),
        ("import sys; sys.exit(0)", "does not load: SystemExit"),
        ("import no_such_module_here", "does not load: ModuleNotFoundError"),
        ("def preprocess(path): pass", r"has no function image_preprocess\(img_path, norm=True\)"),
        ("image_preprocess = 3", "has no function image_preprocess"),
    ],
)
def test_a_file_that_does_not_load_is_named(tmp_path, code, reason):
    with pytest.raises(PreprocessError, match=reason):
        load_preprocessing(write(tmp_path, code), allow_code=True)


def test_an_error_inside_names_the_image(tmp_path, photos):
    plugin = write(tmp_path, "def image_preprocess(p, norm=True): raise KeyError('k')")
    with pytest.raises(UnreadableSample, match=r"1\.png: plug-in .*plug\.py raised KeyError"):
        create(photos, plugin, image_input(3, 4, 6)).open().load(1)


def test_something_other_than_an_array_is_refused(tmp_path, photos):
    plugin = write(tmp_path, "def image_preprocess(p, norm=True): return None")
    with pytest.raises(PreprocessError, match="returned NoneType"):
        create(photos, plugin, image_input(3, 4, 6)).open().load(0)


def test_a_file_that_changed_since_is_refused(tmp_path, photos):
    plugin = write(tmp_path, "def image_preprocess(p, norm=True): return 1")
    digest = hashlib.sha256(b"as it was when the job began").hexdigest()
    spec = DatasetSpec(str(photos), (image_input(3, 4, 6),), Plugin(str(plugin), digest))
    with pytest.raises(PreprocessError, match="has changed since the job began"):
        spec.open().load(0)


def test_an_edit_within_the_same_second_is_seen(tmp_path, photos):
    code = "import numpy as np\ndef image_preprocess(p, norm=True): return np.full((1, 1), {})"
    for value in (1, 2):
        dataset = create(photos, write(tmp_path, code.format(value)), image_input(1)).open()
        assert dataset.load(0).inputs["data"].item() == value
    assert not (tmp_path / "__pycache__").exists()


def test_it_needs_image_files(tmp_path):
    folder = write_lmdb(tmp_path / "db", {b"a": raw_datum(picture(4, 6))})
    with pytest.raises(PreprocessError, match=r"takes files of this machine, not records .*db"):
        create(folder, write(tmp_path, NHWC), image_input(3, 4, 6)).open().load(0)


TWO = """
import numpy as np

def image_preprocess(p, norm=True):
    return np.full((1, {0}, {0}, 1), {1}, np.float32)
"""


def two_files(tmp_path, third=""):
    (tmp_path / "list.txt").write_text("photos/0.png,photos/1.png\n")
    (tmp_path / "a.py").write_text(TWO.format(4, 1))
    (tmp_path / "b.py").write_text(TWO.format(5, 2))
    given = f"{tmp_path}/a.py,{tmp_path}/b.py{third}"
    specs = [image_input(4, 4, 1, name="a"), image_input(1, 5, 5, name="b")]
    return DatasetSpec.create(tmp_path / "list.txt", specs, preprocess=Path(given), allow_code=True)


@pytest.mark.usefixtures("photos")
def test_every_input_may_have_a_file_of_its_own(tmp_path):
    spec = two_files(tmp_path)
    inputs = spec.open().load(0).inputs
    assert (inputs["a"].shape, inputs["b"].shape) == ((1, 4, 4, 1), (1, 1, 5, 5))
    assert (inputs["a"].max(), inputs["b"].max()) == (1, 2)
    assert [one["plugin"] for one in spec.describe_preprocessing()["each"]] == ["a.py", "b.py"]


@pytest.mark.usefixtures("photos")
def test_one_may_be_a_plug_in_and_the_other_steps(tmp_path):
    (tmp_path / "a.py").write_text(TWO.format(4, 1))
    (tmp_path / "b.yaml").write_text('inputs: {"*": {steps: [{color: rgb}]}}')
    (tmp_path / "list.txt").write_text("photos/0.png,photos/1.png\n")
    specs = [image_input(4, 4, 1, name="a"), image_input(3, 4, 6, name="b")]
    given = Path(f"{tmp_path}/a.py,{tmp_path}/b.yaml")
    data = DatasetSpec.create(tmp_path / "list.txt", specs, preprocess=given, allow_code=True).open()
    rgb = picture(4, 6, 1)[:, :, ::-1].transpose(2, 0, 1)
    np.testing.assert_array_equal(data.load(0).inputs["b"][0], rgb)


def test_as_many_files_as_inputs(tmp_path):
    with pytest.raises(PreprocessError, match="3 preprocessing files for 2 inputs: give one, or as many"):
        two_files(tmp_path, f",{tmp_path}/a.py")


def test_it_is_said_that_nhwc_is_turned(tmp_path):
    assert two_files(tmp_path).remarks() == [
        "what the plug-in returns as (1, H, W, C) is turned into (1, C, H, W) for b"
    ]
