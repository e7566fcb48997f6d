"""MIT Scene Parsing with a strong network of today: UPerNet on ConvNeXt-B from ImageNet-22k weights.

Paper:    Liu et al., A ConvNet for the 2020s, CVPR 2022, under Xiao et al., Unified Perceptual Parsing, ECCV
          2018; the rate, 6e-5 for all layers, is that of UPerNet on Swin (Liu et al., ICCV 2021).
Data:     ADE20K
Expected: mean IoU 52.1 on val, single scale, as MMSegmentation has for this network, crop and length. It
          adds a second loss at stride 16 and lowers the rate of early layers: a point less is no surprise.
          Not run here.
Hardware: a GPU with 80 GB, 45 GB of disk for the pixel cache. MMSegmentation needs 8.5 GB for two pictures.
Hours:    about 28 on an A100; reckoned, not run. 7.0e18 operations at 70 TFLOP/s.
Command:  sceneparse train ADEChallengeData2016 --out runs/modern --recipe ade20k-modern

Needs ``pip install 'sceneparse[smp]'``. With 24 GB ``--batch-size 4 --set accumulate=4``, on eight GPUs
``--devices 8 --batch-size 2``. Why this one: its weights may be used for anything (MIT licence) and timm has
them by name; those of SegFormer's encoders, with 51.0 in its paper, are for research only.
"""

from __future__ import annotations

from sceneparse.config import DataConfig, ModelConfig, OptimizerConfig, RunConfig
from sceneparse.data.augment import Augmentation
from sceneparse.models import ModelOptions


def ade20k_modern() -> RunConfig:
    """AdamW 6e-5 with a polynomial schedule, batch 16, 160,000 steps, stochastic depth up to 0.4."""
    return RunConfig(
        recipe="ade20k-modern",
        data=DataConfig(label_set="ade20k", short_side=640),
        augmentation=Augmentation(crop=(640, 640)),
        model=ModelConfig(
            name="smp/upernet-tu-convnext_base.fb_in22k",
            options=ModelOptions(smp={"decoder_channels": 512, "drop_path_rate": 0.4}),
            init="imagenet",
        ),
        optimizer=OptimizerConfig(name="adamw", lr=6e-5, weight_decay=0.05, schedule="poly", warmup=0.01),
        batch_size=16,
        steps=160_000,
    )
