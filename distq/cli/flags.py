"""The options of distq.config as command-line flags: names, types and defaults are there, help is here."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from distq.config import CHOICES, TuneOptions
from distq.options import POSITIONAL, RESERVED
from distq.run.time_limit import Clock, stopwatch

DATA = "Data"
QUANTIZATION = "Quantization"
LAYERS = "Layers"
SEARCH = "Search"
GOAL = "Goal"
COMPARISON = "What is compared"
PLACE = "Where it runs"
OUTPUT = "Output"


@dataclass(frozen=True)
class Flag:
    """How ``--help`` shows one option."""

    panel: str | None
    help: str
    metavar: str | None = None


FLAGS = {
    "model": Flag(None, "The float model: ONNX, or a Caffe .prototxt.", "MODEL"),
    "weights": Flag(
        DATA, "Weights of a Caffe .prototxt (default: the .caffemodel of the same name beside it).", "FILE"
    ),
    "candidate": Flag(None, "The model to measure: ONNX, or a Caffe .prototxt.", "CANDIDATE"),
    "against": Flag(
        DATA, "The float model to compare with, ONNX or Caffe; without it accuracy alone.", "FLOAT"
    ),
    "data": Flag(
        DATA,
        "Folder of images or arrays, LMDB folder, or path or URL of a list or array; a .prototxt: what its "
        "data layer names (default: that of a Caffe model).",
        "SRC",
    ),
    "preprocess": Flag(
        DATA,
        "Preprocessing: YAML, image_params.json, a Python file, or a .prototxt with a data layer; or one an "
        "input: a,b.",
        "FILE",
    ),
    "input_config": Flag(DATA, "SigmaStar's input_config.ini: formats, means, 16-bit tensors.", "FILE"),
    "labels": Flag(DATA, "Lines of 'name label', for top-1 and top-5.", "FILE"),
    "samples": Flag(DATA, "Use the first N samples; 0 is all.", "N"),
    "skip": Flag(DATA, "Leave out the first N samples, such as those that calibrated.", "N"),
    "holdout": Flag(DATA, "The next N samples are held out (default: the rest, at most 500).", "N"),
    "holdout_data": Flag(DATA, "Held-out samples from here instead.", "SRC"),
    "shuffle": Flag(DATA, "Take samples in a random order, fixed by --seed."),
    "seed": Flag(DATA, "Seed of every random choice.", "N"),
    "skip_bad": Flag(DATA, "Skip up to N unreadable samples.", "N"),
    "allow_code": Flag(DATA, "Run the Python files given to --preprocess, --measure and --diff."),
    "method": Flag(QUANTIZATION, "How a distribution gives a threshold"),
    "rounding": Flag(QUANTIZATION, "How weights become integers: by the covariance of inputs, or to nearest"),
    "bins": Flag(QUANTIZATION, "Histogram bins, a multiple of 128.", "N"),
    "scheme": Flag(QUANTIZATION, "Activations in uint8 with a zero point, or int8 around 0"),
    "target": Flag(QUANTIZATION, "The runtime, which decides where quantizers stand"),
    "int16_layers": Flag(QUANTIZATION, "Layers with 16-bit activations.", "NAME,NAME"),
    "bias_correction": Flag(QUANTIZATION, "Leave biases as they are, and round weights to nearest."),
    "table": Flag(QUANTIZATION, "Start from these thresholds: distq's or another tool's table.", "FILE"),
    "dump_dist": Flag(QUANTIZATION, "Also write the distributions here.", "FILE"),
    "load_dist": Flag(QUANTIZATION, "Read distributions from here; without --data: thresholds only.", "FILE"),
    "layer_config": Flag(LAYERS, "Settings by layer name or pattern: YAML, or a Caffe prototxt.", "FILE"),
    "float_layers": Flag(LAYERS, "Keep these layers in float.", "NAME,NAME"),
    "float_inputs": Flag(LAYERS, "Keep these layers and all before them in float.", "NAME,NAME"),
    "float_outputs": Flag(LAYERS, "Keep these layers and all behind them in float.", "NAME,NAME"),
    "float_blocks": Flag(
        LAYERS, "Keep these layers in float, and all behind them up to the next in float.", "NAME,NAME"
    ),
    "float_depthwise": Flag(LAYERS, "Keep depthwise convolutions in float."),
    "channel_scales": Flag(
        LAYERS,
        "A scale for each channel in front of depthwise convolutions where it pays, or never.",
    ),
    "conv_groups": Flag(
        LAYERS, "Split each convolution's outputs by magnitude into up to N groups (2 to 64).", "N"
    ),
    "concat": Flag(
        LAYERS, "Whether inputs of a Concat share its threshold: where ranges are alike, always, or never"
    ),
    "per_tensor_weights": Flag(LAYERS, "One weight scale a layer, not one a channel."),
    "weight_bits": Flag(
        LAYERS, "Bits of weights; pairs: 8, with room for kernels without VNNI (default on such processors)"
    ),
    "quantize_front_end": Flag(
        LAYERS, "Also quantize the STFT, CQT or mel filters that a network of sound begins with."
    ),
    "quantize_shares": Flag(LAYERS, "Also quantize what an attention with long rows weighs its values by."),
    "float_if_faster": Flag(
        LAYERS,
        "Whether layers that gain no time in INT8 stay float: by rule, timed on a worker, or never",
    ),
    "input_shape": Flag(
        DATA, "Sizes of an input whose dimensions the model leaves open; again for each.", "NAME=1,3,640,640"
    ),
    "input_value": Flag(
        DATA,
        "This input always has this value: the branch of an If that it decides is taken; again for each.",
        "NAME=16000",
    ),
    "state": Flag(
        DATA,
        "This input of a recurrent model takes what this output gave a sample before; again for each.",
        "IN=OUT",
    ),
    "sequence": Flag(DATA, "States start at 0 every N samples (default: at the first alone).", "N"),
    "tune_samples": Flag(SEARCH, "Score on the first N calibration samples.", "N"),
    "strategy": Flag(SEARCH, "How thresholds are searched"),
    "effort": Flag(SEARCH, "From 1, fast, to 5, best"),
    "int16_budget": Flag(SEARCH, "Give the N worst activations 16 bits.", "N"),
    "float_budget": Flag(SEARCH, "Keep the N worst layers in float.", "N"),
    "equalize": Flag(SEARCH, "Even out channels or not, whatever the effort."),
    "layers": Flag(SEARCH, "Tune only these layers.", "NAME,NAME"),
    "ignore_layers": Flag(SEARCH, "Leave these layers' thresholds as calibrated.", "NAME,NAME"),
    "time": Flag(SEARCH, "End within so long, with the best so far: 90s, 20m, 1.5h.", "TIME"),
    "goal": Flag(
        GOAL,
        "What to reach on the tuning samples: sqnr:30, top1:-0.5, top5:-0.5, map:-1, score:-0.01.",
        "NAME:N",
    ),
    "cost": Flag(GOAL, "What not to spend: multiplications or layers not in INT8, or time on this machine"),
    "tries": Flag(GOAL, "Try exactly this: 'per-channel; method=admm'; again for each.", "'A; B'"),
    "diff": Flag(
        SEARCH,
        "What the search lowers: nmse, squared, cosine, detection, text, text-boxes or FILE.py.",
        "MEASURE",
    ),
    "measure": Flag(
        COMPARISON,
        "Also measure nmse, squared, cosine, sqnr, topk, detection, text, text-boxes or FILE.py.",
        "NAME,NAME",
    ),
    "annotations": Flag(COMPARISON, "Boxes for detection: COCO's JSON, or a folder of VOC's XML.", "PLACE"),
    "speed": Flag(COMPARISON, "Also time the models on this machine, one thread unless --cpus-per-worker."),
    "int8_layers": Flag(
        COMPARISON,
        "Only these layers in INT8, the rest in float: names, patterns, or a FILE of them.",
        "NAME,NAME",
    ),
    "progressive": Flag(COMPARISON, "A line per layer, as INT8 grows layer by layer."),
    "sensitivity": Flag(COMPARISON, "What each tensor costs, alone and inside the INT8 network."),
    "executor": Flag(PLACE, "Ray actors, or this process alone"),
    "workers": Flag(PLACE, "Number of workers (default: one per core).", "N"),
    "device": Flag(PLACE, "cpu, auto, cuda or cuda:N.", "DEVICE"),
    "cpus_per_worker": Flag(
        PLACE,
        "CPUs of a worker; one computes, the others decode (default: 1). With --executor local all compute.",
        "N",
    ),
    "gpus_per_worker": Flag(
        PLACE, "GPU of a worker, 1 or a part such as 0.5 (default: so that all workers fit).", "PART"
    ),
    "wait_for_workers": Flag(
        PLACE, "Ask for more --workers than the cluster has now; wait this long for the first.", "SECONDS"
    ),
    "address": Flag(PLACE, "A running Ray to join (default: $RAY_ADDRESS, or start one).", "RAY"),
    "shard_size": Flag(PLACE, "Samples in a work unit, at most; no result depends on it.", "N"),
    "cache_memory": Flag(
        PLACE,
        "Memory in which a worker keeps what it would otherwise compute again "
        "(default: its part of a quarter of the machine's or container's, 64 to 1024); at least the "
        "network's largest tensor, of one sample.",
        "MiB",
    ),
    "decode_workers": Flag(
        PLACE, "Threads of a worker (beside a GPU: actors) that decode meanwhile (default: its CPUs).", "N"
    ),
    "stage_data": Flag(PLACE, "Copy an LMDB, .npz or .npy to this folder of each node first.", "DIR"),
    "retries": Flag(PLACE, "Times a work unit runs again after the worker that had it was lost.", "N"),
    "unit_timeout": Flag(
        PLACE, "Give a work unit to another worker after so long; it counts as an attempt.", "SECONDS"
    ),
    "out": Flag(OUTPUT, "Folder of the run; must be new unless with --resume.", "RUN"),
    "report": Flag(OUTPUT, "Also write RUN/report.html, the page that distq report makes."),
    "resume": Flag(OUTPUT, "Continue an interrupted run in --out."),
}


PLACE_FLAGS = tuple(name for name, flag in FLAGS.items() if flag.panel == PLACE and name != "shard_size")
"""Options that a job file leaves to the place where it runs."""


@dataclass(frozen=True)
class Output:
    """What a command prints: all, warnings only (quiet), or one JSON document on stdout; and its clock."""

    quiet: bool
    json: bool
    clock: Clock = field(default_factory=stopwatch, compare=False)


def _keyword(name: str, hint: Any, info: Any, default: Any) -> inspect.Parameter:  # noqa: ANN401  # a type and what typer makes
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[hint, info]
    )


def example(line: str) -> str:
    """The end of a command's help: one line, short enough to stay whole in a terminal of 80 columns."""
    return f"Example:\n\n{line}"


def switch(name: str, text: str, panel: str | None = OUTPUT) -> Any:  # noqa: ANN401  # as typer.Option is typed
    """A flag without a value, shown without one in the help."""
    return typer.Option(name, help=text, metavar="", rich_help_panel=panel)


_OUTPUT_PARAMETERS = (
    _keyword("quiet", bool, switch("--quiet", "Print only warnings and errors."), default=False),
    _keyword("json", bool, switch("--json", "Print the result as one JSON document."), default=False),
)


def takes(
    kind: type[BaseModel], only: Collection[str] | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a Typer command of a function ``(values, output, **its own parameters)``.

    The command gets a flag for every option of ``kind`` and --quiet and --json. ``values`` are the options
    by name; one that was not given is absent, so that a job knows a number its user asked for from a default,
    which may shrink to the data.

    Args:
        kind: A class of distq.config.
        only: With it, only these options become flags, and all of them may be left out.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(function, eval_str=True).parameters.values())[2:]
        hints = get_type_hints(kind)
        names = [name for name in FLAGS if name in (kind.model_fields if only is None else only)]
        options = [
            _parameter(name, hints[name], kind.model_fields[name], optional=only is not None)
            for name in names
        ]

        inverted = {name for name in names if kind.model_fields[name].default is True}  # flags --no-...

        @functools.wraps(function)
        def command(**given: Any) -> None:  # noqa: ANN401  # typer passes what the signature says
            values = {name: value for name in names if (value := given.pop(name)) is not None}
            values |= {name: not value for name, value in values.items() if name in inverted}
            function(values, Output(given.pop("quiet"), given.pop("json")), **given)

        parameters = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in (*options, *own, *_OUTPUT_PARAMETERS)
        ]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what typer reads
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return command

    return decorate


def _declaration(name: str, hint: Any, field: FieldInfo) -> str:  # noqa: ANN401  # a type
    """What turns an option on; what is on already is turned off, and what another decides either."""
    on, off = "--" + RESERVED.get(name, name).replace("_", "-"), "--no-" + name.replace("_", "-")
    if hint == bool | None:
        return f"{on}/{off}"
    return off if field.default is True else on


_TEXTS = (tuple[str, ...], *(get_type_hints(TuneOptions)[name] for name in ("measure", "diff")))


def _parameter(name: str, hint: Any, field: FieldInfo, *, optional: bool) -> inspect.Parameter:  # noqa: ANN401  # a type
    """The parameter of one option: Typer reads its type from it, and the help the default."""
    flag = FLAGS[name]
    text, metavar, declaration = flag.help, flag.metavar, _declaration(name, hint, field)
    notes = []
    if name in CHOICES:
        hint = Literal[tuple(CHOICES[name])]
    if get_origin(hint) is Literal:
        notes, metavar = [", ".join(get_args(hint))], name.upper()
    elif hint in (bool, bool | None):
        metavar = ""
    if isinstance(field.default, str | int) and hint is not bool and not optional:
        notes.append(f"default: {field.default}")
    if notes:
        text = f"{text.removesuffix('.')} ({'; '.join(notes)})."
    if name in {"input_shape", "input_value", "state", "tries"}:  # given again for each
        hint = list[str]
    if hint in _TEXTS:  # names travel as one string, which distq.config splits
        hint = str
    required = field.is_required() and not optional
    hint, default = (hint, inspect.Parameter.empty) if required else (hint | None, None)
    if name in POSITIONAL:
        return _keyword(name, hint, typer.Argument(help=text, metavar=metavar), default)
    info = typer.Option(declaration, help=text, metavar=metavar, rich_help_panel=flag.panel)
    return _keyword(name, hint, info, default)
