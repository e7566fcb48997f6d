"""The demo's run: FCN-8s on the built-in scenes, from random weights, in under three minutes on two cores.

Paper:    Long, Shelhamer, Darrell, Fully Convolutional Networks for Semantic Segmentation, CVPR 2015: scores
          at strides 8, 16 and 32, over a residual network of 0.4 M parameters.
Data:     the built-in scenes
Expected: docs/results.md; at least 0.80 mean IoU on scenes it has not seen.
Hardware: two processor cores.
Hours:    0.03
Command:  sceneparse demo
"""

from __future__ import annotations

from sceneparse.config import DataConfig, ModelConfig, OptimizerConfig, RunConfig
from sceneparse.data.augment import Augmentation
from sceneparse.models import ModelOptions

SCENES_SIZE_HW = (128, 160)
TRAIN_SCENES, VAL_SCENES = 640, 100


def scenes_demo() -> RunConfig:
    """Small batches and a high rate: many steps matter more here than clean gradients."""
    return RunConfig(
        recipe="scenes-demo",
        data=DataConfig(resize="none"),
        augmentation=Augmentation(crop=SCENES_SIZE_HW, scale=(1.0, 1.0), photometric=0.0),
        model=ModelConfig(name="fcn8s-test_resnet", options=ModelOptions(upsampling="bilinear", dropout=0.0)),
        optimizer=OptimizerConfig(name="adamw", lr=4e-3, weight_decay=0.05, schedule="cosine", warmup=0.1),
        batch_size=8,
        steps=800,
        eval_every=200,
        eval_batch_size=10,
    )
