"""What docs/speed.md shows, read from the newest result files: rows of its table, bars of its plots."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from provenance import newest

Figures = dict[str, Any]

MISSING = "not measured yet"
LEAST_SHARE = 0.005
"""Parts of a time that are smaller are not drawn."""

NETWORKS = {
    "FCN-8s VGG19": "FCN-8s VGG19, 150 classes, 224x224",
    "light network": "FCN-4s fused HGNetV2-B0, 11 classes, 480x360",
}


class Row(NamedTuple):
    """A line of the table."""

    what: str
    against: str
    asked: str
    result: str
    say: Callable[[Figures], str]


class Bar(NamedTuple):
    """One bar; ``kind`` is "ours", "plain" or "other"."""

    name: str
    value: float
    said: str
    kind: str = "ours"
    target: float | None = None


class Panel(NamedTuple):
    """Bars on one axis; ``mark`` is a line across all of them, with its words."""

    title: str
    bars: tuple[Bar, ...]
    mark: tuple[float, str] | None = None


class Plot(NamedTuple):
    """A picture of panels one below the other; ``log``: lengths are factors, from 1 on."""

    title: str
    panels: tuple[Panel, ...]
    log: bool = False


def figures(what: str) -> Figures | None:
    """Of the newest result."""
    result = newest(what)
    return None if result is None else result["figures"]


def first(cases: Figures) -> Figures:
    return next(iter(cases.values()))


def ours(f: Figures) -> Figures:
    """The row of Predictor in the first case of forward.py."""
    return first(f["cases"])["sides"]["Predictor, auto"]


def _loss(f: Figures) -> str:
    row = first(f["cases"])["ours"]
    return f"{row['times_faster']:.0f}x faster ({row['ms']:.0f} ms), {row['times_less_memory']:.0f}x less"


def _labels(f: Figures) -> str:
    random, smooth = (f["cases"][f"{kind} scores"]["ours"] for kind in ("random", "smooth"))
    return (
        f"{random['times_faster']:.0f}x with random scores, {smooth['times_faster']:.0f}x with smooth ones "
        f"({random['ms']:.0f} and {smooth['ms']:.0f} ms)"
    )


def _forward(f: Figures) -> str:
    row, sides = ours(f), first(f["cases"])["sides"]
    others = ", ".join(f"{side} {sides[side]['ms']:.0f} ms" for side in ("ONNX Runtime", "OpenVINO"))
    return f"{row['times_faster']:.1f}x ({row['ms']:.0f} ms); {others}"


def _floor(f: Figures) -> str:
    case = first(f["cases"])
    floor = case["gflop"] / case["ceiling_gflop_per_s"] * 1e3
    arithmetic = f"{case['gflop']:.0f} GFLOP at {case['ceiling_gflop_per_s']:.0f} GFLOP/s: {floor:.0f} ms"
    return f"{ours(f)['ms'] / floor:.2f}x the fp32 floor of direct arithmetic ({arithmetic}); {_bf16(f)}"


def _bf16(f: Figures) -> str:
    """Against the bf16 ceiling, where the processor computes in it."""
    machine = figures("ceilings")
    rates = {} if machine is None else machine["by_threads"][str(machine["threads"])]
    rate = next((rate for what, rate in rates.items() if "convolution" in what and "bf16" in what), None)
    if rate is None:
        return "no bf16 floor, this processor does not compute in bf16"
    return f"{ours(f)['ms'] / (first(f['cases'])['gflop'] / rate * 1e3):.2f}x the bf16 floor"


def _train_step(f: Figures) -> str:
    case = first(f["cases"])
    plain, step = case["plain"], case["ours"]
    return f"{case['times_faster']:.1f}x ({plain['step_s']:.2f} s to {step['step_s']:.2f} s)"


def _second_process(f: Figures) -> str:
    return ", ".join(f"{name} {model['difference_s']:.1f} s more" for name, model in f["models"].items())


def _evaluate(f: Figures) -> str:
    _, early, late = f["memory_gib_before_quarter_all"]["ours"]
    seconds = f"{f['plain_s']:.1f} s to {f['ours_s']:.1f} s"
    held = f"{early:.2f} GiB held at most after a quarter of the pictures, {late:.2f} GiB after all"
    return f"{f['ratio']:.1f}x ({seconds}); {held}"


def _gpu(f: Figures) -> str:
    steps = [row for row in f["training"].values() if isinstance(row, dict)]
    best = max(steps, key=lambda row: row["images_s"])
    share = best["tflops"] / f["ceilings"]["matrix_product_bf16_tflops"]
    return (
        f"{best['images_s']:,.0f} img/s, {share:.0%} of the bf16 matrix product's rate; "
        f"{f['run']['minutes_for_200000_steps_of_3']:.1f} min"
    )


ROWS = (
    Row(
        "loss and gradient, 4 x 150 x 512x512 from stride 8, fp32",
        "`F.interpolate` and `F.cross_entropy`, eager",
        "10x faster, 20x less extra memory",
        "loss",
        _loss,
    ),
    Row(
        "labels from stride-8 scores, same size",
        "upsampling and arg-max, eager",
        "5x faster",
        "labels",
        _labels,
    ),
    Row(
        "FCN-8s VGG19, 150 classes, 224x224, batch 1, `Predictor`",
        "PyTorch eager fp32; ONNX Runtime; OpenVINO",
        "4.5x faster; faster than both",
        "forward",
        _forward,
    ),
    Row(
        "the same",
        "its arithmetic at the machine's ceiling",
        "at most 1.25x the bf16 floor",
        "forward",
        _floor,
    ),
    Row(
        "second process to first result",
        "importing torch",
        "under 3 s more",
        "second-process",
        _second_process,
    ),
    Row(
        "training step FCN-8s VGG19, 151 classes, 224x224, batch 8",
        "PyTorch eager fp32, Adam",
        "4x faster",
        "train_step",
        _train_step,
    ),
    Row(
        "evaluation of 101 CamVid val images",
        "a plain loop: forward, upsampling, arg-max, `numpy.bincount`",
        "3x faster, memory flat",
        "evaluate",
        _evaluate,
    ),
    Row(
        "H200: training FCN-8s VGG19 at 224x224 in bf16; 600,000 images",
        "",
        "1,500 img/s; under 7 minutes",
        "gpu",
        _gpu,
    ),
)


def table() -> str:
    """The rows that the project has to show, as Markdown."""
    lines = ["| what | against | asked, at least | measured |", "| --- | --- | --- | --- |"]
    for row in ROWS:
        f = figures(row.result)
        lines.append(f"| {row.what} | {row.against} | {row.asked} | {MISSING if f is None else row.say(f)} |")
    return "\n".join(lines)


def _times(name: str, factor: float, target: float | None) -> Bar:
    asked = "" if target is None else f", asked {target:g}x"
    return Bar(name, factor, f"{factor:.{0 if factor >= 9.95 else 1}f}x{asked}", "ours", target)


RATIOS: tuple[tuple[str, str, Callable[[Figures], float]], ...] = (
    ("loss and gradient", "loss", lambda f: first(f["cases"])["ours"]["times_faster"]),
    ("labels, random scores", "labels", lambda f: f["cases"]["random scores"]["ours"]["times_faster"]),
    ("labels, smooth scores", "labels", lambda f: f["cases"]["smooth scores"]["ours"]["times_faster"]),
    ("one picture, FCN-8s VGG19", "forward", lambda f: ours(f)["times_faster"]),
    ("training step, FCN-8s VGG19", "train_step", lambda f: first(f["cases"])["times_faster"]),
    ("evaluation, CamVid val", "evaluate", lambda f: f["ratio"]),
)
"""Name, result file, and how many times as fast as plain PyTorch."""


def ratios() -> Plot | None:
    """How many times as fast as plain PyTorch."""
    bars = []
    for name, what, factor in RATIOS:
        f = figures(what)
        if f is not None:
            bars.append(_times(name, factor(f), f.get("target_times_faster", f.get("target_ratio"))))
    if (f := figures("loss")) is not None:
        learned = f["cases"]["150 classes, 4 x 224x224, learned x8"]["ours"]["times_faster"]
        bars.insert(1, _times("loss, learned upsampling", learned, None))
    panel = Panel("times as fast as plain PyTorch in the same process", tuple(bars))
    return Plot("Against plain PyTorch", (panel,), log=True) if bars else None


def one_picture() -> Plot | None:
    """Milliseconds of each way to compute the same network."""
    f = figures("forward")
    if f is None:
        return None
    panels = []
    for title, case in f["cases"].items():
        plain = case["sides"]["PyTorch eager"]["ms"]
        bars = tuple(
            Bar(
                side,
                row["ms"],
                f"{row['ms']:.0f} ms" + (f", {plain / row['ms']:.1f}x" if row["ms"] != plain else ""),
                "ours" if side.startswith("Predictor") else "plain" if "eager" in side else "other",
            )
            for side, row in case["sides"].items()
        )
        floor = case["gflop"] / case["ceiling_gflop_per_s"] * 1e3
        panels.append(
            Panel(
                f"{title}, fp32", bars, (floor, f"direct arithmetic at the machine's ceiling: {floor:.0f} ms")
            )
        )
    return Plot("One picture", tuple(panels))


def other_networks() -> Plot | None:
    """Milliseconds a picture and images a second of training, ours and others'."""
    panels = []
    if (f := figures("forward")) is not None:
        bars = (
            Bar(name, row["ms"], f"{row['ms']:.0f} ms, {row['gflop_per_s']:.0f} GFLOP/s", _whose(name))
            for name, row in f["peers"].items()
        )
        panels.append(Panel("one picture, 224x224, 150 classes: milliseconds, less is better", tuple(bars)))
    if (f := figures("train_peers")) is not None:
        bars = (
            Bar(
                name,
                row["images_per_s"],
                f"{row['images_per_s']:.1f} img/s, {row['gflop_per_s']:.0f} GFLOP/s",
                _whose(name),
            )
            for name, row in f["rows"].items()
        )
        title = f"training step, batch {f['batch_size']}: images a second, more is better"
        panels.append(Panel(title, tuple(bars)))
    return Plot("Other networks", tuple(panels)) if panels else None


def _whose(name: str) -> str:
    if name.endswith("eager"):
        return "plain"
    return "ours" if name.startswith(("fcn", "smp/")) else "other"


def _parts(title: str, parts: Iterable[tuple[str, float]], unit: str) -> Panel:
    """Bars of what a time is made of, with their shares."""
    parts = list(parts)
    total = sum(value for _, value in parts)
    digits = 0 if total >= 100 else 1
    bars = (
        Bar(name, value, f"{value:.{digits}f} {unit}, {value / total:.0%}")
        for name, value in sorted(parts, key=lambda part: -part[1])
        if value >= LEAST_SHARE * total
    )
    return Panel(f"{title}: {total:.{digits}f} {unit}", tuple(bars))


def _startup_parts(f: Figures) -> list[tuple[str, float]]:
    torch, more = f["imports"]["torch"]["wall_s"], f["imports"]["all that train imports"]["wall_s"]
    return [
        ("import torch", torch),
        ("import all else", more - torch),
        ("data set, network, first step", f["second_start_s"] - more),
    ]


def time_left() -> Plot | None:
    """Where the time goes that is left."""
    panels = []
    if (f := figures("forward")) is not None:
        for title, name in NETWORKS.items():
            parts = f["cases"][name]["parts_ms"]["Predictor, auto"]
            panels.append(_parts(f"one picture, {title}", parts.items(), "ms"))
    if (f := figures("train_step")) is not None:
        for title, case in f["cases"].items():
            step = case["ours"]
            parts = ((part, share * step["step_s"] * 1e3) for part, share in step["parts"].items())
            panels.append(_parts(f"training step, {title}", parts, "ms"))
    if (f := figures("evaluate")) is not None:
        each = f["ours_s"] / f["images"] * 1e3
        parts = ((part, share * each) for part, share in f["ours_share_of_time"].items())
        panels.append(_parts(f"evaluation, a picture of CamVid, {f['network']}", parts, "ms"))
    if (f := figures("end_to_end")) is not None:
        predict = f["predict"]
        title = f"a photo in predict, {predict.get('network', f.get('network'))}"
        panels.append(_parts(title, predict["parts_ms"].items(), "ms"))
    if (f := figures("augment")) is not None:
        parts = ((name.partition(":")[0], part["us_a_sample"]) for name, part in f["profile"].items())
        panels.append(_parts("an augmented sample on one core", parts, "µs"))
    if (f := figures("startup")) is not None:
        panels.append(_parts("start of train on 20,000 pictures", _startup_parts(f), "s"))
    return Plot("Where the time goes", tuple(panels)) if panels else None


PLOTS: dict[str, Callable[[], Plot | None]] = {
    "ratios": ratios,
    "one-picture": one_picture,
    "other-networks": other_networks,
    "time-left": time_left,
}
"""By file name without its ending."""
