"""Steps by name, and what is said about a wrong one."""

from __future__ import annotations

import pytest

from distq.data.steps import parse_step


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ({"rezise": {}}, "unknown step 'rezise', did you mean 'resize'. allowed: center_crop, color"),
        ({"resize": {"heigth": 3, "width": 3}}, "unknown key 'heigth', did you mean 'height'"),
        ({"resize": {"width": 3}}, "one of shorter_side, longer_side, height and width, or height alone"),
        ({"resize": {"height": 3, "width": 3, "shorter_side": 3}}, "one of shorter_side, longer_side"),
        ({"resize": {"longer_side": 3, "shorter_side": 3}}, "one of shorter_side, longer_side"),
        ({"resize": {}}, "or multiple_of"),
        ({"resize": {"longer_side": 3, "max_width": 3}}, "max_width needs height alone"),
        ({"resize": {"height": 3, "only": "larger"}}, "only needs shorter_side or longer_side"),
        ({"resize": {"height": 3, "width": 3, "multiple_of": 2}}, "exclude each other: give multiples"),
        ({"resize": {"height": 3, "width": 3, "cover": True, "rounding": "ceil"}}, "nearest or floor"),
        ({"pad": {}}, "pad takes height, width or both, or else multiple_of"),
        ({"pad": {"width": 3, "multiple_of": 2}}, "or else multiple_of"),
        ({"resize": {"shorter_side": 3, "letterbox": "center"}}, "letterbox needs height and width"),
        ({"resize": {"height": 3, "width": 3, "pad": 3}}, "pad needs letterbox"),
        ({"resize": {"height": 0, "width": 3}}, "greater than or equal to 1"),
        ({"center_crop": {"height": 3}}, "center_crop takes either fraction or both height and width"),
        ({"center_crop": {"fraction": 0.5, "pad": 1}}, "pad needs height and width"),
        ({"resize": {"shorter_side": 3, "cover": True}}, "cover needs height and width"),
        ({"resize": {"height": 3, "width": 3, "cover": True, "letterbox": "center"}}, "exclude each other"),
        ({"resize": {"height": 3, "width": 3, "rounding": "floor"}}, "rounding: floor needs letterbox"),
        ({"transpose": False}, "transpose: Input should be True"),
        ({"color": "grey"}, "color: Input should be 'bgr', 'rgb' or 'gray'"),
        ({"scale": float("nan")}, "scale: Input should be a finite number"),
        ({"mean": []}, "mean: .* should have at least 1 item"),
        ({"std": [1, 0]}, "std must not be 0"),
        ({"scale": 1, "mean": 1}, "a step is one 'name: value'"),
        ("resize", "a step is one 'name: value'"),
    ],
)
def test_a_wrong_step_is_explained(raw, reason):
    with pytest.raises(ValueError, match=reason):
        parse_step(raw)
