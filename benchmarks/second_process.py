"""How long from the start of a process to its first labels, beyond importing torch?

    python benchmarks/second_process.py [--model MODEL ...] [--rounds 5]

A process that loads a model and labels one photo, against one that only imports torch, by turns; a first
process, not counted, has made whatever is kept. Without --model: FCN-8s VGG19 with 150 classes and random
weights (560 MB), and its photo of 224x224. Writes results/second-process_HARDWARE_DATE.json.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from provenance import write_result
from random_model import write_random_model

from sceneparse.labels import ade20k

TARGET_S = 3.0

IMPORT = "import torch"
PREDICT = (
    "import sys, sceneparse; print(sceneparse.load(sys.argv[1], engine=sys.argv[3])(sys.argv[2]).shares())"
)


def seconds(code: str, *arguments: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def measure(model: Path, photo: Path, engine: str, rounds: int) -> dict[str, float]:
    """Least seconds of each, taken in turns, and the difference."""
    arguments = (str(model), str(photo), engine)
    seconds(PREDICT, *arguments)
    importing = predicting = float("inf")
    for _ in range(rounds):
        importing = min(importing, seconds(IMPORT))
        predicting = min(predicting, seconds(PREDICT, *arguments))
    return {
        "import_torch_s": round(importing, 2),
        "first_labels_s": round(predicting, 2),
        "difference_s": round(predicting - importing, 2),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, action="append", default=[], help="run or bundle folder")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    figures = {}
    with tempfile.TemporaryDirectory(prefix="second_process_") as scratch:
        models = {path.name: path for path in options.model}
        if not models:
            models["fcn8s-vgg19"] = write_random_model(Path(scratch) / "vgg19", "fcn8s-vgg19", ade20k())
        photo = Path(scratch) / "photo.png"
        pixels = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(photo)
        for name, path in models.items():
            figures[name] = measure(path, photo, options.engine, options.rounds)
            print(name, *(f"{what} {value}" for what, value in figures[name].items()))
    worst = max(found["difference_s"] for found in figures.values())
    write_result(
        "second-process",
        "Seconds from the start of a second process to its first labels, beyond importing torch.",
        {"engine": options.engine, "models": figures, "target_s": TARGET_S},
    )
    return 0 if worst < TARGET_S else 1


if __name__ == "__main__":
    raise SystemExit(main())
