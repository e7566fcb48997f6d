"""Puts the model of a finished CamVid run into the package, with its card.

    python benchmarks/ship.py RUN [--data ../shared/data/camvid] [--name camvid-small]

Keeps the weights in float16 where that is rounding and nothing else, and evaluates what is shipped, not what
was trained, on val: single scale without flip, which goes into config.json, and averaged apart. Refuses
weights of over 10 MB, and float16 that costs a thousandth of mean IoU. Writes src/sceneparse/shipped/NAME
(model.safetensors, config.json, README.md) and docs/images/NAME (pictures of failures). Takes some minutes.
Run quality.py on the runs of all seeds first: its newest result file gives the card spread and time.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from finished_run import FinishedRun, finished_run
from model_card import LICENCE, Facts, Picture, card
from PIL import Image
from provenance import machine, newest
from quality import SCALES, VIEWS
from rich.console import Console

import sceneparse
from sceneparse.data.decode import read_mask
from sceneparse.data.preprocess import ResizePolicy
from sceneparse.deploy.bundle import (
    CONFIG,
    WEIGHTS,
    Bundle,
    find_bundle,
    load_model,
    read_bundle,
    write_bundle,
)
from sceneparse.deploy.shipped import CARD, DEFAULT_SHIPPED, SHIPPED
from sceneparse.evaluation.reading import costliest_confusions
from sceneparse.labels import camvid
from sceneparse.prediction.predictor import Predictor
from sceneparse.report.findings import Findings, Mistake, read_findings
from sceneparse.report.mistakes import read_numbers
from sceneparse.training.reading import update_reading

ROOT = Path(__file__).resolve().parents[1]
CAMVID = ROOT.parent / "shared" / "data" / "camvid"
MOST_BYTES = 10_000_000
MOST_LOST = 1e-3
PICTURES, PICTURES_BYTES, PICTURE_WIDTH = 4, 390_000, 720
CONFUSIONS = 8
SHORT_SIDE = 360
"""Of CamVid's pictures: a photo of a phone, eight times as large, would be nothing that the network knows."""


def plain(model: Path) -> Predictor:
    """PyTorch's own layers in float32: the same on every machine."""
    return sceneparse.load(model, device="cpu", engine="eager")


def staged_run(run: FinishedRun, data: Path, folder: Path) -> Path:
    """A run folder with the weights that are shipped, and what a reading needs."""
    folder.mkdir()
    config = replace(run.config, data=replace(run.config.data, path=data.as_posix(), cache=None))
    config.write(folder / "config.yaml")
    for name in ("environment.json", "evaluation.json"):
        shutil.copy(run.folder / name, folder / name)
    bundle, state = read_bundle(run.folder)
    if bundle.resize.mode == "none":
        bundle = replace(bundle, resize=ResizePolicy(mode="short-side", size=SHORT_SIDE))
    write_bundle(folder / "model", bundle, state, half=True)
    return folder


def changed_share(one: Path, other: Path) -> float:
    """Share of pixels that differ between two folders of label files."""
    pixels = changed = 0
    for path in sorted(one.glob("*.png")):
        labels = read_mask(path)
        pixels += labels.size
        changed += int((labels != read_mask(other / path.name)).sum())
    return changed / pixels


def averaged(predictor: Predictor, data: Path) -> dict[str, float]:
    """Mean IoU of the views that average, by what it is over."""
    scales = ", ".join(f"{scale:g}" for scale in SCALES)
    said = {"flip": "the mirrored picture", "multi-scale": f"the mirrored picture and the scales {scales}"}
    found = {}
    for view, words in said.items():
        view_scales, flip = VIEWS[view]
        numbers = sceneparse.evaluate(predictor, data, scales=view_scales, flip=flip)
        found[words] = numbers["mean_iou"]
        print(f"{view}: mean IoU {numbers['mean_iou']:.4f}", flush=True)
    return found


def findings_of(run: Path, classes: int) -> Findings:
    """The reading of a run, made now."""
    update_reading(run, Console(stderr=True))
    findings = read_findings(read_numbers(run), classes)
    assert findings is not None
    return findings


def write_pictures(worst: Sequence[Mistake], source: Path, folder: Path, card_folder: Path) -> list[Picture]:
    """Small JPEGs of the images that cost most; together they stay below a limit."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    drawn = [Image.open(source / f"{mistake.name}.png").convert("RGB") for mistake in worst[:PICTURES]]
    for picture in drawn:
        picture.thumbnail((PICTURE_WIDTH, 10_000), Image.Resampling.LANCZOS)
    for quality in range(88, 40, -6):
        files = [jpeg(picture, quality) for picture in drawn]
        if sum(map(len, files)) <= PICTURES_BYTES:
            break
    pictures = []
    for mistake, data in zip(worst, files, strict=False):
        path = folder / f"{mistake.name}.jpg"
        path.write_bytes(data)
        pictures.append(Picture(path=Path(os.path.relpath(path, card_folder)).as_posix(), mistake=mistake))
    return pictures


def jpeg(picture: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality, optimize=True, subsampling=0)
    return buffer.getvalue()


def costly_confusions(evaluation: Path) -> list[dict[str, Any]]:
    """The costliest of the whole split, from what ``evaluate --out`` has written."""
    table = np.genfromtxt(evaluation / "confusion.csv", delimiter=",", skip_header=1, dtype=str)
    matrix = table[:, 1:].astype(np.int64)
    return costliest_confusions(matrix, matrix, CONFUSIONS)


def scores_of(bundle: Bundle, numbers: dict[str, Any]) -> dict[str, Any]:
    """What config.json holds: the numbers of the split, and the step the weights are of."""
    return {"step": bundle.scores.get("step")} | {k: v for k, v in numbers.items() if k != "per_class"}


def facts_of(run: FinishedRun, data: Path, name: str, scratch: Path) -> tuple[Facts, Path, Path]:
    """Everything on the card but its pictures; the staged bundle, and the folder of pictures to draw from."""
    staged = staged_run(run, data, scratch / "run")
    size = (staged / "model" / WEIGHTS).stat().st_size
    if size > MOST_BYTES:
        raise SystemExit(f"the weights take {size / 1e6:.1f} MB even so; at most {MOST_BYTES / 1e6:.0f}")
    whole = sceneparse.evaluate(plain(find_bundle(run.folder)), data, out=scratch / "whole")
    predictor = plain(staged)
    numbers = sceneparse.evaluate(predictor, data, out=scratch / "half")
    changed = changed_share(scratch / "whole" / "labels", scratch / "half" / "labels")
    print(
        f"{size / 1e6:.2f} MB; float16 changes {changed:.4%} of the labels, mean IoU "
        f"{whole['mean_iou']:.4f} to {numbers['mean_iou']:.4f}",
        flush=True,
    )
    if abs(whole["mean_iou"] - numbers["mean_iou"]) > MOST_LOST:
        raise SystemExit("float16 costs too much here")
    network, bundle = load_model(staged)
    _, state = read_bundle(run.folder)
    bundle = replace(bundle, licence=LICENCE, scores=scores_of(bundle, numbers))
    views = averaged(predictor, data)
    findings = findings_of(staged, bundle.labels.num_classes)
    write_bundle(staged / "model", bundle, state, half=True)
    record = newest(f"quality-{run.config.recipe}")
    facts = Facts(
        name=name,
        bundle=bundle,
        numbers=numbers,
        views=views,
        parameters=sum(p.numel() for p in network.parameters()),
        weight_bytes=size,
        changed=changed,
        mean_iou_before=whole["mean_iou"],
        findings=findings,
        confusions=costly_confusions(scratch / "half"),
        run=run,
        quality=None if record is None else quality_of(record),
        pictures=(),
    )
    return facts, staged / "model", staged / "worst"


def quality_of(record: dict[str, Any]) -> dict[str, Any]:
    """What the card says of a result file of quality.py."""
    figures = record["figures"]
    return figures | {"machine": machine(record["environment"]["hardware"], figures["threads"])}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("--data", type=Path, default=CAMVID)
    parser.add_argument("--name", default=DEFAULT_SHIPPED)
    parser.add_argument("--shipped", type=Path, default=SHIPPED, help="where the bundle goes")
    parser.add_argument("--pictures", type=Path, default=ROOT / "docs" / "images", help="where pictures go")
    options = parser.parse_args()
    run = finished_run(options.run)
    if run is None:
        raise SystemExit(f"{options.run}: no finished run; go on with it: sceneparse train ... --resume")
    if read_bundle(options.run)[0].labels.names != camvid().names:
        raise SystemExit("the card is written for CamVid's classes")
    folder = options.shipped / options.name
    with tempfile.TemporaryDirectory(prefix="sceneparse-ship-") as scratch:
        facts, made, worst = facts_of(run, options.data, options.name, Path(scratch))
        pictures = write_pictures(facts.findings.worst, worst, options.pictures / options.name, folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name in (WEIGHTS, CONFIG):
            shutil.copy(made / name, folder / name)
        (folder / CARD).write_text(card(replace(facts, pictures=pictures)), encoding="utf-8")
    taken = sum(path.stat().st_size for path in (options.pictures / options.name).iterdir())
    print(f"wrote {folder} and {len(pictures)} pictures ({taken / 1e3:.0f} kB)")


if __name__ == "__main__":
    main()
