"""How many pictures does a variant of a study see in the time in which the base sees one?

    python benchmarks/step_costs.py [STUDY] [--only NAME ...] [--threads 1] [--rounds 5] [--seconds 60]

What ablation_variants.py says under ``pictures`` for variants that are compared at the same time comes from
here; without --only these are measured. Of the heads say ``heads --only fcn2s-fused``: the base in the time
of that one sees the inverse. Training steps of sceneparse.training.learner.Learner on random
pictures of the size of the views, the whole ones and the small ones that runs begin with, of the base and of
the variants in turns, in one process, the least time of each. A variant's time for a picture is that of both
kinds by their shares of its steps. Loading is left out: it takes about a hundredth of a step.
Writes results/step_costs-STUDY_HARDWARE_DATE.json.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from ablation_variants import BASE, STUDIES, Study
from ablations import config_of, variants_of
from provenance import write_result
from side_by_side import best_s

from sceneparse.config import RunConfig
from sceneparse.data.augment import Augmentation
from sceneparse.labels import camvid
from sceneparse.models import build_model
from sceneparse.normalization import IMAGENET
from sceneparse.training.learner import Learner

WHOLE, SMALL = "whole views", "small views"


def at_the_same_time(study: Study) -> list[str]:
    """Variants that see more or fewer pictures than the base, and whose steps are others."""
    return [name for name, variant in study.variants.items() if variant.pictures != 1 and variant.settings]


def views_of(augmentation: Augmentation) -> dict[str, tuple[Augmentation, float]]:
    """By kind: the views, and the share of a run's steps that see them."""
    early = augmentation.early
    return {WHOLE: (augmentation, 1 - early), SMALL: (augmentation.small(), early)}


def steps_of(config: RunConfig) -> dict[str, Callable[[], object]]:
    """A step on each kind of views."""
    torch.manual_seed(0)
    labels = camvid()
    network = build_model(config.model.name, labels.num_classes, config.model.options).train()
    weights = None if config.loss.class_weights == "none" else torch.ones(labels.num_classes)
    config = replace(config, device="cpu", precision="32")
    learner = Learner(config, network, IMAGENET, ignore_index=labels.ignore_index, class_weights=weights)
    steps: dict[str, Callable[[], object]] = {}
    for kind, (views, share) in views_of(config.augmentation).items():
        if share:
            batch = random_batch(config.batch_size, views.crop, labels.num_classes)
            steps[kind] = lambda batch=batch: learner.step([batch] * config.accumulate, 0)
    return steps


def random_batch(size: int, crop: tuple[int, int], classes: int) -> Any:
    """uint8 (B, 3, H, W) as the loader gives them, and labels (B, H, W)."""
    images = torch.randint(0, 256, (size, 3, *crop), dtype=torch.uint8)
    masks = torch.randint(0, classes, (size, *crop), dtype=torch.uint8)
    images = images.contiguous(memory_format=torch.channels_last)
    return {"image": images, "mask": masks, "index": torch.arange(size)}


def rows_of(
    configs: Mapping[str, RunConfig], seconds: Mapping[tuple[str, str], float]
) -> dict[str, dict[str, Any]]:
    """What is recorded of each variant, the base first.

    Args:
        configs: by name, :data:`BASE` among them.
        seconds: of a step, by name and kind of views.
    """
    a_picture = {}
    for name, config in configs.items():
        kinds = views_of(config.augmentation).items()
        step = sum(share * seconds[name, kind] for kind, (_, share) in kinds if share)
        a_picture[name] = step / config.images_per_step
    return {
        name: {
            "network": config.model.name,
            "views": {
                kind: {
                    "crop": list(views.crop),
                    "share_of_steps": share,
                    "step_s": round(seconds[name, kind], 4),
                    "images_per_s": round(config.images_per_step / seconds[name, kind], 2),
                }
                for kind, (views, share) in views_of(config.augmentation).items()
                if share
            },
            "pictures_in_the_same_time": round(a_picture[BASE] / a_picture[name], 3),
        }
        for name, config in configs.items()
    }


def measure(study: Study, names: Sequence[str], *, rounds: int, seconds: float) -> dict[str, dict[str, Any]]:
    """The rows of the base and of the variants."""
    configs = {
        name: config_of(study, variants_of(study)[name], study.samples, 0)[0]
        for name in dict.fromkeys([BASE, *names])
    }
    sides = {
        (name, kind): step for name, config in configs.items() for kind, step in steps_of(config).items()
    }
    return rows_of(configs, best_s(sides, rounds=rounds, seconds=seconds))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", nargs="?", choices=STUDIES, default="camvid-small")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="variants; default: those above")
    parser.add_argument("--threads", type=int, default=1, help="as ablations.py gives a run")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    study = STUDIES[options.study]
    names = options.only or at_the_same_time(study)
    if unknown := set(names) - set(variants_of(study)):
        parser.error(f"no such variant: {', '.join(sorted(unknown))}; there are: {', '.join(study.variants)}")
    torch.set_num_threads(options.threads)
    rows = measure(study, names, rounds=options.rounds, seconds=options.seconds)
    for name, row in rows.items():
        said = ", ".join(f"{view['images_per_s']:.1f} img/s on {kind}" for kind, view in row["views"].items())
        print(f"{name}: {row['pictures_in_the_same_time']:.2f} pictures in the same time ({said})")
    write_result(
        f"step_costs-{options.study}",
        "Seconds of a training step of the variants of a study, and the pictures that take the same time.",
        {
            "recipe": study.recipe,
            "rows": rows,
            "threads": options.threads,
            "load_average": os.getloadavg() if hasattr(os, "getloadavg") else None,
        },
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
