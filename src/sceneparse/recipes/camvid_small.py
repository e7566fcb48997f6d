"""CamVid from random weights on two processor cores in under an hour: the network for street pictures.

Paper:    features of strides 4 to 32 fused as in Lin et al., Feature Pyramid Networks, CVPR 2017, over
          HGNetV2-B0, cheap where pixels are many; class weights of ENet (Paszke et al. 2016).
Data:     CamVid
Expected: docs/results.md (val, void ignored, single scale).
Hardware: two processor cores, no GPU.
Hours:    0.75
Command:  sceneparse train CAMVID --out runs/camvid --recipe camvid-small
"""

from __future__ import annotations

from sceneparse.config import DataConfig, LossConfig, ModelConfig, OptimizerConfig, RunConfig
from sceneparse.data.augment import Augmentation
from sceneparse.models import ModelOptions


def camvid_small() -> RunConfig:
    """FCN-4s with fused features over HGNetV2-B0, AdamW with a polynomial schedule, averaged weights."""
    return RunConfig(
        recipe="camvid-small",
        data=DataConfig(resize="none"),
        augmentation=Augmentation(crop=(256, 320), scale=(0.6, 1.7)),
        model=ModelConfig(
            name="fcn4s-fused-hgnetv2_b0", options=ModelOptions(upsampling="bilinear", dropout=0.0)
        ),
        optimizer=OptimizerConfig(
            name="adamw", lr=3e-3, weight_decay=0.02, schedule="poly", warmup=0.05, clip_norm=5.0, ema=0.998
        ),
        loss=LossConfig(class_weights="enet"),
        batch_size=8,
        steps=2600,
        eval_every=400,
    )
