import networks
import numpy as np
import pytest
from networks import SETTINGS, Builder
from replica_helpers import Bench

from distq.data.dataset import DatasetSpec, InputSpec
from distq.engine.local import LocalExecutor
from distq.replica.evaluate import STATISTICS, Evaluate, joined
from distq.replica.lowered import Lowered
from distq.replica.measured import Measuring
from distq.replica.session import Session
from distq.search.measures.measure import Measure
from distq.search.metrics import compare


def test_statistics_are_those_of_the_exported_models(tmp_path):
    bench = Bench(tmp_path, "four outputs")
    wide = bench.quantized.export(bench.state)
    models = tuple(bench.executor.share(m) for m in (wide, bench.loaded.serialized()))
    result = bench.run(Evaluate(models, bench.float_model, bench.data, bench.indices))
    exact = Session(bench.loaded.serialized(), SETTINGS, float_network=True)
    int8 = Session(wide, SETTINGS, fused=True)
    for name in STATISTICS:
        assert result[name].shape == (2, 3, 4)
        wanted = [getattr(compare(int8.run(f), exact.run(f)), name)[0] for f in bench.feeds]
        np.testing.assert_array_equal(result[name][0], wanted)
    assert not result["error"][1].any()
    assert (result["top1"] == -1).all()


@pytest.mark.parametrize("again", [True, False])
def test_float_outputs_are_kept_only_where_they_will_be_compared_again(tmp_path, again):
    bench = Bench(tmp_path, "four outputs")
    model = bench.executor.share(bench.quantized.export(bench.state))
    bench.run(Evaluate((model,), bench.float_model, bench.data, bench.indices, again=again))
    kept = [key for key in bench.executor._worker._kept if key[0] == "float outputs"]
    assert len(kept) == (len(bench.indices) if again else 0)


def rows(folder, scores, labels=None):
    """A classifier that gives its input back, and these inputs on disk."""
    b = Builder()
    b.node("Gemm", "x", b.constant(np.eye(scores.shape[1], dtype=np.float32)), output="y")
    loaded = networks.load(folder, b.model({"x": [1, scores.shape[1]]}, ["y"]))
    np.savez(folder / "rows.npz", x=scores)
    named = None
    if labels is not None:
        named = folder / "labels.txt"
        plain = DatasetSpec.create(folder / "rows.npz", _inputs(scores)).open()
        named.write_text("".join(f"{plain.name(i)} {label}\n" for i, label in enumerate(labels)))
    return loaded, DatasetSpec.create(folder / "rows.npz", _inputs(scores), labels=named)


def _inputs(scores):
    return [InputSpec("x", (1, scores.shape[1]), "float32")]


def evaluate(loaded, data, against):
    with LocalExecutor(SETTINGS) as executor:
        model = executor.share(loaded.serialized())
        unit = Evaluate((model,), model if against else None, data, tuple(range(len(data.open()))))
        return next(executor.run([unit]))[1]


@pytest.mark.parametrize("against", [True, False])
def test_right_answers_are_counted(tmp_path, against):
    scores = np.array([[0, 9, 1, 2, 3, 4], [9, 8, 7, 6, 5, 4], [1, 2, 3, 4, 5, 6]], np.float32)
    result = evaluate(*rows(tmp_path, scores, [1, 4, 0]), against)
    models = 2 if against else 1
    assert result["top1"].tolist() == [[1, 0, 0]] * models
    assert result["top5"].tolist() == [[1, 1, 0]] * models
    assert ("error" in result) == against


def test_without_labels_nothing_is_counted(tmp_path):
    result = evaluate(*rows(tmp_path, np.eye(3, dtype=np.float32)), against=False)
    assert result["top1"].tolist() == result["top5"].tolist() == [[-1, -1, -1]]


def test_a_label_beyond_the_classes_is_not_counted(tmp_path):
    result = evaluate(*rows(tmp_path, np.eye(3, dtype=np.float32), [0, 1, 99]), against=False)
    assert result["top1"].tolist() == [[1, 1, -1]]


def test_what_float_gives_is_postprocessed_once_a_sample_whatever_is_measured_of_it(tmp_path):
    """For records of two candidates and of float itself, and for the loss of both."""
    seen: list[int] = []

    class Counted(Measure):
        name = "counted"

        def postprocess(self, outputs, sample):
            seen.append(sample.index)
            return outputs

        def score(self, outputs, sample):
            assert sample.index in seen
            return float(next(iter(outputs.values())).sum())

    loaded, data = rows(tmp_path, np.eye(3, dtype=np.float32))
    measure, names = Counted(), ("y",)
    with LocalExecutor(SETTINGS) as executor:
        model = executor.share(loaded.serialized())
        measuring, lowered = Measuring((measure,), names), Lowered(measure, names)
        unit = Evaluate((model, model), model, data, (0, 1, 2), measuring=measuring, lowered=lowered)
        result = next(executor.run([unit]))[1]
    assert result["record/0/2/1"] == 1.0
    assert result["loss"].tolist() == [[[-1.0]] * 3] * 2
    assert seen == [i for i in range(3) for _ in range(3 + 3)]


def test_units_of_one_model_each_are_together_what_a_unit_of_all_finds(tmp_path):
    class Sum(Measure):
        name = "sum"

        def score(self, outputs, sample):
            assert sample.index >= 0
            return float(next(iter(outputs.values())).sum())

    scores = np.array([[0, 9, 1], [9, 8, 7], [1, 2, 3]], np.float32)
    loaded, data = rows(tmp_path, scores, [1, 2, 2])
    b = Builder()
    b.node("Gemm", "x", b.random(3, 3), output="y")
    other = b.model({"x": [1, 3]}, ["y"]).SerializeToString()
    measuring, lowered = Measuring((Sum(),), ("y",)), Lowered(Sum(), ("y",))
    with LocalExecutor(SETTINGS) as executor:
        own = executor.share(loaded.serialized())
        models = [executor.share(other), own]
        units = [
            Evaluate(chosen, own, data, (0, 1, 2), measuring=measuring, lowered=lowered)
            for chosen in (tuple(models), *((model,) for model in models))
        ]
        whole, *parts = (result for _, result in sorted(executor.run(units), key=lambda each: each[0]))
    found = joined(parts)
    assert found.keys() == whole.keys()
    for name, array in whole.items():
        np.testing.assert_array_equal(found[name], array)
