"""What did a run reach, and at what cost? Reads a run folder, writes a result file.

python benchmarks/record_run.py RUN WHAT
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

from provenance import write_result
from safetensors import safe_open

from sceneparse.config import read_config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("what", help="first part of the result file's name")
    parser.add_argument("--command", required=True, help="how to repeat the run")
    parser.add_argument("--note", help="what else has to be known of it")
    arguments = parser.parse_args()
    run: Path = arguments.run
    evaluation = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    facts = json.loads((run / "environment.json").read_text(encoding="utf-8"))
    config = read_config(run / "config.yaml")
    with (run / "metrics.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with safe_open(run / "model" / "model.safetensors", "pt") as weights:
        parameters = sum(weights.get_tensor(name).numel() for name in weights.keys())  # noqa: SIM118
    last = rows[-1]
    figures = {
        "model": config.model.name,
        "init": config.model.init or "random",
        "data": facts["data"]["name"],
        "split": evaluation["split"],
        "absent_rule": evaluation["absent_rule"],
        "mean_iou": evaluation["mean_iou"],
        "pixel_accuracy": evaluation["pixel_accuracy"],
        "mean_accuracy": evaluation["mean_accuracy"],
        "frequency_weighted_iou": evaluation["frequency_weighted_iou"],
        "best_step": evaluation["step"],
        "mean_iou_last": float(last["mean_iou"]),
        "steps": config.steps,
        "images": int(last["images"]),
        "training_minutes": float(last["seconds"]) / 60,
        "images_per_second": int(last["images"]) / float(last["seconds"]),
        "parameters_million": parameters / 1e6,
        "per_class": {row["name"]: row["iou"] for row in evaluation["per_class"]},
        "settings": {k: v for k, v in config.to_dict().items() if k != "data"},
        "trained_on": {"versions": facts["versions"], "hardware": facts["hardware"], "git": facts["git"]},
    }
    if arguments.note:
        figures["note"] = arguments.note
    write_result(
        arguments.what,
        "mean IoU of the best checkpoint of a run, and its cost",
        figures,
        command=arguments.command,
    )
    print(f"mean IoU {figures['mean_iou']:.4f} in {figures['training_minutes']:.1f} minutes of training")


if __name__ == "__main__":
    main()
