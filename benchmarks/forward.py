"""The network: how fast is `Predictor` beside plain PyTorch, ONNX Runtime, OpenVINO and other networks?

    python benchmarks/forward.py [--threads 2] [--seconds 25] [--light RUN]

FCN-8s VGG19 with 150 classes at 224x224 and the light network fcn4s-fused-hgnetv2_b0 with 11 classes at
480x360, batch 1, fp32, random weights (--light: a run of the light network). Plain: the network in PyTorch
eager, from normalized pixels to logits at the picture's size; so too the other runtimes, from the same
network as ONNX. Predictor does more: from uint8 pixels to the class of every pixel.

All sides of a case take turns in one process on the same number of threads. They do not share one pool of
threads, and a pool goes on spinning for a while after a call, so before each turn nothing runs for PAUSE
seconds and one call is not timed; the least time counts. GFLOP are those of direct convolutions and matrix
products; the ceiling is the rate of a direct 3x3 convolution, a side of its own. A fast algorithm may
exceed it.

engine="auto" is what a user gets at once; the light network also with engine="compiled", after the
compiling (a minute, once). The last table has networks of torchvision and segmentation_models.pytorch
beside ours: PyTorch eager in the usual memory format, and ours also through Predictor. Writes
results/forward_HARDWARE_DATE.json.
"""

from __future__ import annotations

import argparse
import copy
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import ceilings
import numpy as np
import runtimes
import side_by_side
import torch
from numpy.typing import NDArray
from provenance import write_result
from random_model import write_random_model
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import sceneparse
from sceneparse.deploy.bundle import Bundle, find_bundle, load_model
from sceneparse.labels import LabelSet, ade20k, camvid
from sceneparse.prediction.inference import normalized

TARGET_RATIO = 4.5
PAUSE = 0.25
PLAIN = "PyTorch eager"
CEILING = "ceiling"
OURS = "Predictor"
HEAVY, LIGHT = "fcn8s-vgg19", "fcn4s-fused-hgnetv2_b0"


class Case(NamedTuple):
    network: str
    labels: LabelSet
    size_hw: tuple[int, int]
    engines: tuple[str, ...]


CASES = {
    "FCN-8s VGG19, 150 classes, 224x224": Case(HEAVY, ade20k(), (224, 224), ("auto",)),
    "FCN-4s fused HGNetV2-B0, 11 classes, 480x360": Case(LIGHT, camvid(), (360, 480), ("auto", "compiled")),
}

Call = Callable[[], Any]

PARTS = {
    "3x3 convolutions, ours": ("sceneparse::conv3x3",),
    "7x7 convolution, ours": ("sceneparse::conv7x7", "_Product"),
    "convolutions of oneDNN": ("conv",),
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm"),
    "pooling": ("pool",),
    "copies": ("aten::copy_", "aten::clone"),
    "outside of PyTorch: labels, Python": ("a call",),
}
"""By kind: words that the names of its operations hold. The first that fits counts."""

OTHER = "other operations of PyTorch"


def picture_of(size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Smooth colours with some noise, uint8 (H, W, 3)."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.uniform(0, 255, (1, 3, 9, 9)).astype(np.float32))
    smooth = nn.functional.interpolate(coarse, size=size_hw, mode="bicubic")[0].permute(1, 2, 0).numpy()
    return np.clip(smooth + rng.normal(0, 8, smooth.shape), 0, 255).astype(np.uint8)


def gflop(network: nn.Module, images: Tensor) -> float:
    """Arithmetic of its convolutions and matrix products, computed directly."""
    with FlopCounterMode(display=False) as counter:
        network(images)
    return counter.get_total_flops() / 1e9


def pixels_of(picture: NDArray[np.uint8], bundle: Bundle) -> Tensor:
    """What the network takes: (1, 3, H, W) in the usual memory format."""
    images = torch.from_numpy(picture).permute(2, 0, 1)[None]
    return normalized(images, bundle.normalization, torch.device("cpu")).contiguous()


def sides_of(
    model: Path, picture: NDArray[np.uint8], engines: tuple[str, ...], scratch: Path
) -> tuple[dict[str, Call], float]:
    """Calls that give logits (1, K, H, W), or labels (H, W) where ours; and the network's GFLOP."""
    network, bundle = load_model(model)
    images = pixels_of(picture, bundle)
    channels_last = copy.deepcopy(network).to(memory_format=torch.channels_last)
    turned = images.contiguous(memory_format=torch.channels_last)
    runtimes.export_onnx(network, images, scratch / "network.onnx")
    threads = torch.get_num_threads()
    sides: dict[str, Call] = {
        PLAIN: lambda: network(images),
        "PyTorch eager, channels last": lambda: channels_last(turned),
        "ONNX Runtime": runtimes.onnx_runtime(scratch / "network.onnx", images, threads),
        "OpenVINO": runtimes.openvino(scratch / "network.onnx", images, threads),
    }
    for engine in engines:
        sides[f"{OURS}, {engine}"] = predictor_call(model, picture, engine)
    return sides, gflop(network, images)


def predictor_call(model: Path, picture: NDArray[np.uint8], engine: str) -> Call:
    predictor = sceneparse.load(model, device="cpu", engine=engine)
    return lambda: predictor.predict_index(picture)


def labels_of(result: Tensor | NDArray[np.integer]) -> NDArray[np.integer]:
    return result if isinstance(result, np.ndarray) else result.argmax(1)[0].numpy()


def parts_of(call: Call, calls: int = 3) -> dict[str, float]:
    """Milliseconds of a call by kind of PyTorch operation, and what is outside of them."""
    call()
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities) as found, torch.profiler.record_function("a call"):
        for _ in range(calls):
            call()
    parts: dict[str, float] = {}
    for row in found.key_averages():
        kind = _kind(row.key)
        parts[kind] = parts.get(kind, 0.0) + row.self_cpu_time_total / 1e3 / calls
    largest = sorted(parts.items(), key=lambda part: -part[1])
    return {kind: round(ms, 3) for kind, ms in largest if ms >= 0.0005}


def _kind(name: str) -> str:
    return next((kind for kind, words in PARTS.items() if any(w in name for w in words)), OTHER)


def measure(name: str, model: Path, seconds: float, scratch: Path) -> dict[str, Any]:
    case = CASES[name]
    picture = picture_of(case.size_hw)
    sides, work = sides_of(model, picture, case.engines, scratch)
    wanted = labels_of(sides[PLAIN]())
    agree = {side: float((labels_of(call()) == wanted).mean()) for side, call in sides.items()}
    sides[CEILING] = ceilings.convolution(torch.float32)
    best = side_by_side.best_s(sides, rounds=3, seconds=seconds, pause=PAUSE, block=3)
    rate = ceilings.WORK[ceilings.CONVOLUTION][1] / best.pop(CEILING) / 1e9
    floor = work / rate * 1e3
    print(f"\n{name}: {work:.1f} GFLOP, at {rate:.0f} GFLOP/s at least {floor:.1f} ms")
    print(f"  {'':30}{'ms':>9}{'faster':>9}{'of the ceiling':>16}   labels that agree")
    rows: dict[str, Any] = {}
    for side, seconds_of_it in best.items():
        ms, faster, share = seconds_of_it * 1e3, best[PLAIN] / seconds_of_it, floor / seconds_of_it / 1e3
        print(f"  {side:30}{ms:9.1f}{faster:8.2f}x{share:16.0%}   {agree[side]:.3%}")
        rows[side] = {
            "ms": round(ms, 2),
            "times_faster": round(faster, 2),
            "share_of_ceiling": round(share, 3),
            "share_of_labels_that_agree": agree[side],
        }
    parts = {side: parts_of(sides[side]) for side in (PLAIN, f"{OURS}, {case.engines[0]}")}
    for side, ms_by_kind in parts.items():
        print(f"  {side}: " + ", ".join(f"{kind} {ms:.1f} ms" for kind, ms in ms_by_kind.items()))
    return {
        "gflop": round(work, 2),
        "ceiling_gflop_per_s": round(rate, 1),
        "sides": rows,
        "parts_ms": parts,
        "trained": bool(load_model(model)[1].scores),
    }


def peers(classes: int) -> dict[str, Callable[[], nn.Module]]:
    """Networks of others, random weights."""
    import segmentation_models_pytorch as smp
    from torchvision.models.segmentation import fcn_resnet50

    return {
        "torchvision fcn_resnet50": lambda: fcn_resnet50(
            weights=None, weights_backbone=None, num_classes=classes
        ),
        "smp Unet-vgg19": lambda: smp.Unet("vgg19", encoder_weights=None, classes=classes),
        "smp FPN-resnet50": lambda: smp.FPN("resnet50", encoder_weights=None, classes=classes),
    }


def measure_peers(models: dict[str, Path], seconds: float) -> dict[str, Any]:
    """ms and GFLOP/s at 224x224 with 150 classes: PyTorch eager, and ours through Predictor."""
    picture = picture_of((224, 224))
    sides: dict[str, Call] = {}
    work: dict[str, float] = {}
    images = torch.empty(0)
    for name, model in models.items():
        network, bundle = load_model(model)
        images = pixels_of(picture, bundle)
        eager = f"{name}, eager"
        work[eager] = work[f"{name}, {OURS}"] = gflop(network, images)
        sides[eager] = lambda network=network, images=images: network(images)
        sides[f"{name}, {OURS}"] = predictor_call(model, picture, "auto")
    for name, build in peers(150).items():
        torch.manual_seed(0)
        network = build().eval()
        work[name] = gflop(network, images)
        sides[name] = lambda network=network, images=images: network(images)
    best = side_by_side.best_s(sides, rounds=2, seconds=seconds, pause=PAUSE, block=2)
    print(f"\n150 classes, 224x224, fp32\n  {'':30}{'ms':>9}{'GFLOP':>9}{'GFLOP/s':>10}")
    rows = {}
    for name, seconds_of_it in best.items():
        ms, rate = seconds_of_it * 1e3, work[name] / seconds_of_it
        print(f"  {name:30}{ms:9.1f}{work[name]:9.1f}{rate:10.0f}")
        rows[name] = {"ms": round(ms, 2), "gflop": round(work[name], 1), "gflop_per_s": round(rate, 1)}
    return rows


@torch.no_grad()
def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=25, help="time for each table, at least")
    parser.add_argument("--light", type=Path, help="a run of the light network")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cases = {}
    with tempfile.TemporaryDirectory(prefix="forward_") as made:
        scratch = Path(made)
        models = {}
        for name, case in CASES.items():
            folder = models[case.network] = scratch / case.network
            if case.network == LIGHT and options.light:
                shutil.copytree(find_bundle(options.light), folder)  # what is compiled is kept beside it
            else:
                write_random_model(folder, case.network, case.labels)
            cases[name] = measure(name, folder, options.seconds, scratch)
        resnet = write_random_model(scratch / "resnet", "fcn8s-resnet50", ade20k())
        beside = measure_peers({HEAVY: models[HEAVY], "fcn8s-resnet50": resnet}, options.seconds)
    write_result(
        "forward",
        "Milliseconds a picture, batch 1, fp32: Predictor, PyTorch eager, other runtimes, other networks.",
        {
            "cases": cases,
            "peers": beside,
            "target_times_faster": TARGET_RATIO,
            "threads": torch.get_num_threads(),
            "versions": runtimes.versions(),
            "load_average": os.getloadavg(),
        },
    )
    heavy = next(iter(cases.values()))["sides"]
    ours = heavy[f"{OURS}, auto"]
    others = min(heavy["ONNX Runtime"]["ms"], heavy["OpenVINO"]["ms"])
    return 0 if ours["times_faster"] >= TARGET_RATIO and ours["ms"] < others else 1


if __name__ == "__main__":
    raise SystemExit(main())
