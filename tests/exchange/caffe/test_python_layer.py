"""param_str of Python data layers."""

from __future__ import annotations

import pytest

from distq.errors import PreprocessError
from distq.exchange.caffe.python_layer import parse_param_str, read_values

VENDORS = """{'data_list': 'list.txt', 'h': 12, 'w': 10, 'color_format': 'rgb', 'r_mean': 123.0,
 'g_mean': 117.0, 'b_mean': 104.0, 'scale': 0.017, 'mirror': 3, 'transpose': (2, 0, 1), 'padding': True,
 'batch_size': 4}"""


def read(text):
    return read_values(parse_param_str(text, "layer 'data'"), "layer 'data'")


def test_the_vendors_values():
    assert parse_param_str(VENDORS, "layer 'data'")["list"] == "list.txt"
    found = read(VENDORS)
    assert found.steps == [
        {"resize": {"height": 12, "width": 10, "letterbox": "center", "pad": 0}},
        {"flip": "horizontal"},
        {"color": "rgb"},
        {"mean": [123.0, 117.0, 104.0]},
        {"scale": 0.017},
    ]
    assert (found.notes, found.gray) == ([], False)


def test_means_by_name_are_in_the_order_of_the_picture():
    assert read("{'color_format': 'bgr', 'r_mean': 3, 'g_mean': 2, 'b_mean': 1}").steps == [
        {"mean": [1, 2, 3]}
    ]


@pytest.mark.parametrize(
    "text",
    [
        "size: [8, 9]\ncolor_format: bgr",
        '{"size": [8, 9], "color_format": "bgr"}',
        "{h: 8, w: 9, color: BGR}",
    ],
)
def test_yaml_and_json_are_read(text):
    found = read(text)
    assert (found.steps, found.notes) == ([{"resize": {"height": 8, "width": 9}}], [])


@pytest.mark.parametrize(
    ("mirror", "steps"),
    [("0", []), ("-2", []), ("1", ["both"]), ("2", ["vertical"]), ("3", ["horizontal"]), ("False", [])],
)
def test_mirror_is_opencvs_code_and_2(mirror, steps):
    found = read(f"{{'color_format': 'bgr', 'mirror': {mirror}}}")
    assert [step["flip"] for step in found.steps] == steps


@pytest.mark.parametrize(("value", "steps"), [("True", 1), ("(2, 1, 0)", 1), ("[2, 0, 1]", 0), ("0", 0)])
def test_transpose_swaps_height_and_width_unless_it_says_channels_first(value, steps):
    found = read(f"{{'color_format': 'bgr', 'transpose': {value}}}")
    assert found.steps == [{"transpose": True}] * steps


def test_gray_takes_one_mean():
    found = read("{'color_format': 'gray', 'r_mean': 5, 'g_mean': 5, 'b_mean': 5}")
    assert (found.steps, found.gray) == ([{"mean": [5]}], True)


def test_what_is_unknown_or_assumed_is_said():
    notes = read("{'sigma': 3, 'mirror': True}").notes
    assert "left out, as unknown: sigma" in notes[0]
    assert "mirror is left out: it does not say which way" in notes[1]
    assert "names no color_format: BGR" in notes[2]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("__import__('os').getcwd()", "param_str is no mapping: give --data and --preprocess"),
        ("{'h': open('x')}", "h|height"),
        ("{'h': 'tall', 'w': 3}", "height is no number: 'tall'"),
        ("{'h': 3}", "height and width go together"),
        ("{'size': [1, 2, 3]}", r"size is \[height, width\]"),
        ("{h: .nan, w: 3}", "height is no number: 'nan'"),
        ("{'scale': set()}", r"scale is no number"),
        ("{'mirror': [1, 2]}", "mirror .* is none of 0"),
        ("{'mirror': 7}", "mirror 7 is none of 0"),
        ("{'transpose': (0, 1)}", "transpose .* is neither a switch nor"),
        ("{'color_format': 'yuv'}", "color yuv is none of bgr, rgb and gray"),
        ("[1, 2]", "param_str is no mapping"),
        ("{a: b: c}", "param_str holds no plain values"),
    ],
)
def test_what_is_no_plain_value_is_refused(text, reason):
    with pytest.raises(PreprocessError, match=f"layer 'data': .*(?:{reason})"):
        read(text)
