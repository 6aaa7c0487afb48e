from distq.search.log import UNMEASURED, LogEntry, number_text


def test_lines_are_worded_as_the_original_tuner_printed_them():
    ori, best = 17.227313995361328, 17.399587135314942
    assert LogEntry("original", 604.455322265625).line("conv1") == (
        "ori_thres=604.455322266, ori_diff=1.79769313486e+308"
    )
    assert LogEntry("start", 610.4998754882812, number=2).line("conv1") == (
        "start tuning: 2, layer: conv1, tuning threshold: 610.499875488"
    )
    assert LogEntry("end", 610.4998754882812, 3.25081530369e-06, 2).line("conv1") == (
        "end tuning: 2, layer: conv1, tuning diff: 3.25081530369e-06"
    )
    assert LogEntry("done", best, 0.0288527630498, original_threshold=ori).line("fc1000") == (
        "tuning end, layer: fc1000,  best diff with tune: 0.0288527630498/1.79769313486e+308, "
        "threshold: 17.3995871353/17.2273139954"
    )


def test_a_layer_name_is_printed_as_it_is():
    assert "layer: block/{0}%s, " in LogEntry("start", 1.5, number=1).line("block/{0}%s")


def test_numbers_have_twelve_digits_and_always_a_point_or_an_exponent():
    assert number_text(2.0) == "2.0"
    assert number_text(-3.0) == "-3.0"
    assert number_text(0.0) == "0.0"
    assert number_text(1e-7) == "1e-07"
    assert number_text(1 / 3) == "0.333333333333"
    assert number_text(float("inf")) == "inf"
    assert number_text(UNMEASURED) == "1.79769313486e+308"
