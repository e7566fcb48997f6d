"""Does the demo keep its promise? Times `sceneparse demo` as a whole process in a new folder.

python benchmarks/demo.py
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from provenance import write_result

LIMIT_S, LEAST_IOU, LEAST_LEAD = 180, 0.80, 0.30


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--picture", type=Path, help="keep the last sheet of samples here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "demo"
        began = time.monotonic()
        subprocess.run([sys.executable, "-m", "sceneparse", "demo", "--out", str(out)], check=True)
        seconds = time.monotonic() - began
        evaluation = json.loads((out / "run" / "evaluation.json").read_text(encoding="utf-8"))
        baseline = json.loads((out / "run" / "baseline.json").read_text(encoding="utf-8"))[0]
        if arguments.picture is not None:
            sheet = Image.open(max((out / "run" / "samples").glob("*.png")))
            arguments.picture.parent.mkdir(parents=True, exist_ok=True)
            sheet.convert("RGB").quantize(256).save(arguments.picture, optimize=True)
        report_kib = (out / "report.html").stat().st_size / 1024
    figures = {
        "seconds": seconds,
        "mean_iou": evaluation["mean_iou"],
        "pixel_accuracy": evaluation["pixel_accuracy"],
        "colour_only_mean_iou": baseline["mean_iou"],
        "lead": evaluation["mean_iou"] - baseline["mean_iou"],
        "images": evaluation["images"],
        "report_kib": report_kib,
    }
    for name, value in figures.items():
        print(f"{name:24} {value:.4g}")
    passed = seconds < LIMIT_S and figures["mean_iou"] >= LEAST_IOU and figures["lead"] >= LEAST_LEAD
    write_result("demo", "time and held-out mean IoU of the demo", figures | {"passed": passed})
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
