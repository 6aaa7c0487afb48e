"""Settings by layer, read from YAML."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from distq.errors import UsageError
from distq.quant.layer_config import LayerEntry, ThresholdSetting, read_layer_config


def read(folder: Path, text: str) -> dict[str, LayerEntry]:
    path = folder / "layers.yaml"
    path.write_text(text)
    return read_layer_config(path)


def test_every_key_is_read(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        """
conv1: {method: kl, scale: 1.1, bits: 16}
"stage2*": {float: true}
score: {threshold: 12}
box: {min: -3, max: 9.5}
wide: {groups: 4, weights: per_tensor}
7: {method: max}
""",
    )
    assert {name: entry.given for name, entry in found.items()} == {
        "conv1": {"method": "kl", "scale": 1.1, "bits": 16},
        "stage2*": {"float": True},
        "score": {"threshold": 12.0},
        "box": {"min": -3.0, "max": 9.5},
        "wide": {"groups": 4, "weights": "per_tensor"},
        "7": {"method": "max"},
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("conv1: {methods: kl}", "entry conv1: unknown key methods: did you mean method?"),
        ("conv1: {method: best}", "entry conv1: method 'best': input should be"),
        ("conv1: {method: auto}", "method 'auto'"),
        ("conv1: {threshold: 0}", "threshold 0"),
        ("conv1: {threshold: .nan}", "threshold nan"),
        ("conv1: {scale: '2'}", "scale '2'"),
        ("conv1: {bits: 4}", "bits 4"),
        ("conv1: {float: false}", "float False"),
        ("conv1: {groups: 0}", "groups 0"),
        ("conv1: {weights: per_channel}", "weights 'per_channel'"),
        ("conv1: {min: -1}", "min and max go together"),
        ("conv1: {min: 1, max: 2}", "no range that holds 0"),
        ("conv1: {min: 0, max: 0}", "no range that holds 0"),
        ("conv1: {threshold: 2, method: kl}", "threshold is fixed, so method has no meaning"),
        ("conv1: {threshold: 2, min: -1, max: 1}", "threshold is fixed, so min"),
        ("conv1: {min: -1, max: 1, scale: 2}", "min and max are fixed, so scale"),
        ("conv1: {float: true, groups: 2}", "neither groups nor weights"),
        ("conv1: {}", "entry conv1 sets nothing"),
        ("conv1: kl", "entry conv1 sets nothing"),
        ("conv1: {method: kl}\nconv1: {method: max}", "line 2: conv1 is given twice"),
        ("- conv1", "has no entries"),
        ("", "has no entries"),
        ("conv1: {method", "is not YAML: line 1"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)) as error:
        read(tmp_path, text)
    assert "layers.yaml" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_layer_config(tmp_path / "none.yaml")


def test_a_fixed_threshold_reaches_below_0_where_the_tensor_does() -> None:
    setting = ThresholdSetting(threshold=3.0)
    assert setting.fixed_range(-0.1) == (-3.0, 3.0)
    assert setting.fixed_range(0.0) == (0.0, 3.0)
    assert ThresholdSetting(limits=(-1.0, 2.0)).fixed_range(0.0) == (-1.0, 2.0)
    assert ThresholdSetting(method="kl", scale=1.1).fixed_range(0.0) is None
