"""FCN-8s on VGG19, 150 classes: do twenty steps on real ADE20K pictures lower the loss, and is all there?

Two of the three pictures of the benchmark's sample, several times each, are the training split, the third is
the validation split (a picture may not be in both), in the ADE20K challenge layout. Trains twenty steps at
224, batch 4, from random weights, and predicts the three photos.

    python benchmarks/ade20k_steps.py --sample FOLDER   (with images/validation and annotations/validation)
"""

from __future__ import annotations

import argparse
import csv
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from provenance import write_result

REPEATS = 4
COMPLETE = (
    "config.yaml",
    "environment.json",
    "metrics.csv",
    "curves.png",
    "report.html",
    "checkpoints/last.ckpt",
    "checkpoints/best.ckpt",
    "model/model.safetensors",
    "model/config.json",
)


def challenge_layout(sample: Path, root: Path) -> None:
    """images and annotations: the last picture to validate, the others several times to learn from."""
    for kind in ("images", "annotations"):
        for split in ("training", "validation"):
            (root / kind / split).mkdir(parents=True)
        *learned, last = sorted((sample / kind / "validation").iterdir())
        shutil.copy(last, root / kind / "validation")
        for file in learned:
            for i in range(REPEATS):
                shutil.copy(file, root / kind / "training" / f"{file.stem}_{i}{file.suffix}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=Path, required=True)
    parser.add_argument("--keep", type=Path, help="leave the run and the predictions in this folder")
    arguments = parser.parse_args()
    command = [sys.executable, "-m", "sceneparse"]
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        data, run, out = folder / "ADEChallengeData2016", folder / "run", folder / "predictions"
        challenge_layout(arguments.sample, data)
        settings = [
            "--model",
            "fcn8s-vgg19",
            "--size",
            "224,224",
            "--batch-size",
            "4",
            "--steps",
            "20",
            "--set",
            "eval_every=10",
        ]
        subprocess.run([*command, "train", str(data), "--out", str(run), *settings], check=True)
        photos = str(arguments.sample / "images" / "validation")
        subprocess.run([*command, "predict", str(run), photos, "--out", str(out)], check=True)
        with (run / "losses.csv").open(encoding="utf-8", newline="") as file:
            losses = [float(row["loss"]) for row in csv.DictReader(file)]
        missing = [name for name in COMPLETE if not (run / name).is_file()]
        with (out / "shares.csv").open(encoding="utf-8", newline="") as file:
            classes: dict[str, list[str]] = {}
            for row in csv.DictReader(file):
                classes.setdefault(row["file"], []).append(row["class_name"])
        samples = len(list((run / "samples").glob("*.png")))
    first, last = sum(losses[:5]) / 5, sum(losses[-5:]) / 5
    figures = {
        "loss_first_5": first,
        "loss_last_5": last,
        "losses": losses,
        "missing": missing,
        "sample_sheets": samples,
        "classes": classes,
    }
    print(f"mean loss of the first 5 steps {first:.3f}, of the last 5 {last:.3f}")
    for photo, names in classes.items():
        print(f"{photo}: {', '.join(names)}")
    passed = last < first and not missing and len(classes) == 3 and samples > 0
    write_result(
        "ade20k_steps",
        "twenty steps of FCN-8s VGG19 on ADE20K's samples",
        figures | {"passed": passed},
        command="python benchmarks/ade20k_steps.py --sample FOLDER",
    )
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
