"""CamVid from random weights on two processor cores in under an hour.

Paper:    FCN with one more skip (stride 4) over HGNetV2-B0, whose blocks are cheap where pixels are many.
Expected: see docs/results.md (val, void ignored).
Hardware: two cores, no GPU.
Command:  sceneparse train CAMVID --out runs/camvid --recipe camvid-cpu
"""

from __future__ import annotations

from sceneparse.config import DataConfig, LossConfig, ModelConfig, OptimizerConfig, RunConfig
from sceneparse.data.augment import Augmentation
from sceneparse.models import ModelOptions


def camvid_cpu() -> RunConfig:
    """FCN-4s over HGNetV2-B0, AdamW with a polynomial schedule, averaged weights."""
    return RunConfig(
        recipe="camvid-cpu",
        data=DataConfig(resize="none"),
        augmentation=Augmentation(crop=(256, 320), scale=(0.5, 2.0)),
        model=ModelConfig(name="fcn4s-hgnetv2_b0", options=ModelOptions(upsampling="bilinear", dropout=0.0)),
        optimizer=OptimizerConfig(
            name="adamw", lr=2e-3, weight_decay=0.02, schedule="poly", warmup=0.05, clip_norm=5.0, ema=0.998
        ),
        loss=LossConfig(class_weights="none"),
        batch_size=8,
        steps=5000,
        eval_every=500,
    )
