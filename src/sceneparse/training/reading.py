"""The reading of a finished run: its validation split goes once more through the best weights."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from sceneparse.config import RunConfig, read_config
from sceneparse.data.cache import PixelCache
from sceneparse.data.dataset import open_dataset
from sceneparse.data.loader import to_tensor
from sceneparse.data.threads import PictureThreads
from sceneparse.deploy.bundle import Bundle, load_model
from sceneparse.errors import InputError
from sceneparse.evaluation.reading import Counted, Reading
from sceneparse.models import Network
from sceneparse.prediction.inference import normalized, predicted_with_confidence
from sceneparse.prediction.render import Triple
from sceneparse.prediction.tiling import picture_bytes
from sceneparse.report.mistakes import digest_of_model, needs_reading, write_reading
from sceneparse.training.progress import say
from sceneparse.training.splits import open_cache


def update_reading(run: str | Path, console: Console) -> None:
    """Write the reading of a run where it is missing or of another model; nothing for a run without a model.

    In memory are a few images, and a few hundred numbers of every other.

    Args:
        run: the run folder.
        console: is told what is done.

    Raises:
        InputError: the data is not where the run found it, or has changed; the disk is full.
    """
    run = Path(run)
    if not needs_reading(run):
        return
    config = _where_the_data_is(read_config(run / "config.yaml"), run)
    dataset = open_dataset(config.data.path, label_set=config.data.label_set, keep_faults=True)
    val, train = (open_cache(config, dataset, split, console) for split in ("val", "train"))
    _require_same(run, val)
    say(console, f"reading the result: {len(val)} validation images with the weights of {run / 'model'}")
    network, bundle = load_model(run)
    device = _device(config)
    network.to(device)
    network.to(memory_format=torch.channels_last)
    model = _Model(network, bundle, device)
    reading = Reading(bundle.labels.num_classes, bundle.labels.ignore_index)
    shrunk: list[int] = []

    def counted(index: int) -> Counted:
        image, mask = val[index]
        if image.shape[0] < mask.shape[0] or image.shape[1] < mask.shape[1]:
            shrunk.append(index)
        size = picture_bytes((image.shape[0], image.shape[1]), reading.num_classes, (1.0,), flip=False)
        prediction, confidence = threads.compute(lambda: model.predicted(val, index), size)
        return reading.count(val.pair(index).stem, mask, prediction, confidence)

    with (
        PictureThreads(several=device.type == "cpu") as threads,
        closing(threads.map(counted, range(len(val)))) as ahead,
        Progress(console=console, transient=True, disable=console.quiet) as bar,
    ):
        for found in bar.track(ahead, total=len(val), description="reading the result"):
            reading.add(found)
    numbers = {
        "model": digest_of_model(run),
        "split": "val",
        **reading.numbers(),
        "shrunk": len(shrunk),
        "train": {
            "images": len(train),
            "pixels": train.tally.pixels[:-1].tolist(),
            "containing": train.tally.containing.tolist(),
        },
    }
    indices = {val.pair(index).stem: index for index in range(len(val))}

    def sample(name: str) -> Triple:
        image, mask = val[indices[name]]
        prediction, _ = model.predicted(val, indices[name])
        return Triple(image=image, label=mask, prediction=prediction, name=name)

    write_reading(run, numbers, bundle.labels, sample)


@dataclass(frozen=True)
class _Model:
    network: Network
    bundle: Bundle
    device: torch.device

    @torch.no_grad()
    def predicted(self, val: PixelCache, index: int) -> tuple[NDArray, NDArray]:
        """Training indices and float32 confidence (H, W) at the mask's own size."""
        image, mask = val[index]
        size_hw = (mask.shape[0], mask.shape[1])
        pixels = normalized(to_tensor(image)[None], self.bundle.normalization, self.device)
        labels, confidence = predicted_with_confidence(self.network, pixels, size_hw)
        return labels[0].cpu().numpy(), confidence[0].cpu().numpy()


def _where_the_data_is(config: RunConfig, run: Path) -> RunConfig:
    """The settings; with the full path to the data if theirs leads nowhere from this folder."""
    if Path(config.data.path).exists():
        return config
    try:
        facts = json.loads((run / "environment.json").read_text(encoding="utf-8"))
        path = str(facts["data"]["path"])
    except (OSError, ValueError, KeyError, TypeError):
        return config
    return replace(config, data=replace(config.data, path=path, cache=None))


def _device(config: RunConfig) -> torch.device:
    """Where the run was made, if it is there."""
    return torch.device(config.device if config.device != "auto" and torch.cuda.is_available() else "cpu")


def _require_same(run: Path, val: PixelCache) -> None:
    """Raise when the validation masks are not those that the run was evaluated on."""
    try:
        numbers = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
        pixels = [row["pixels"] for row in numbers["per_class"]]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if numbers.get("images") != len(val) or pixels != val.tally.pixels[:-1].tolist():
        raise InputError(
            "the val masks have changed since this run was made",
            where=run,
            fix="restore them; for scores on what is there now: sceneparse evaluate",
        )
