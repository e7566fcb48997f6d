"""The demo's run: FCN-8s on the built-in scenes, from random weights, in under three minutes on two cores.

Paper:    Long, Shelhamer, Darrell, CVPR 2015, over a small residual backbone.
Expected: see docs/results.md.
Hardware: two processor cores.
Command:  sceneparse demo
"""

from __future__ import annotations

from sceneparse.config import DataConfig, ModelConfig, OptimizerConfig, RunConfig
from sceneparse.data.augment import Augmentation
from sceneparse.models import ModelOptions


def scenes_demo() -> RunConfig:
    """FCN-8s over a ResNet-10, AdamW with a cosine schedule."""
    return RunConfig(
        recipe="scenes-demo",
        data=DataConfig(resize="none"),
        augmentation=Augmentation(crop=(128, 160), scale=(0.9, 1.25), photometric=0.3),
        model=ModelConfig(name="fcn8s-resnet10t", options=ModelOptions(upsampling="bilinear", dropout=0.0)),
        optimizer=OptimizerConfig(
            name="adamw", lr=3e-3, weight_decay=0.02, schedule="cosine", warmup=0.1, clip_norm=5.0
        ),
        batch_size=16,
        steps=200,
    )
