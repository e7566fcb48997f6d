"""The source's job done in full: FCN-8s on VGG19 for MIT Scene Parsing, from ImageNet weights, 512x512 crops.

Paper:    Long, Shelhamer, Darrell, Fully Convolutional Networks for Semantic Segmentation, CVPR 2015, over
          VGG19 (Simonyan and Zisserman 2014); Adam at 1e-4 is the tutorial's, that the rate falls is not.
Data:     ADE20K
Expected: mean IoU 29.4 and pixel accuracy 71.3 on val, as the benchmark's paper has for FCN-8s (Zhou et
          al., CVPR 2017). Not run here.
Hardware: a GPU from 12 GB, 30 GB of disk for the pixel cache.
Hours:    about 8 on an RTX 3090, 3 on an A100; reckoned, not run. 1.0e18 operations at 35 and 100 TFLOP/s.
Command:  sceneparse train ADEChallengeData2016 --out runs/ade20k --recipe ade20k-fcn8s-vgg19

150 classes, 0 ("other") is ignored; 63 passes over the 20,210 pictures. With 8 GB ``--batch-size 8 --set
accumulate=2`` takes the same steps. ``--init imagenet-vgg-verydeep-19.mat``: from the tutorial's weights.
"""

from __future__ import annotations

from sceneparse.config import DataConfig, ModelConfig, OptimizerConfig, RunConfig
from sceneparse.data.augment import Augmentation


def ade20k_fcn8s_vgg19() -> RunConfig:
    """Adam's 1e-4 falling to 0, batch 16, 80,000 steps; weights decay by 5e-6 a step, as VGG's own did."""
    return RunConfig(
        recipe="ade20k-fcn8s-vgg19",
        data=DataConfig(label_set="ade20k", short_side=512),
        augmentation=Augmentation(crop=(512, 512)),
        model=ModelConfig(name="fcn8s-vgg19", init="imagenet"),
        optimizer=OptimizerConfig(name="adamw", lr=1e-4, weight_decay=0.05, schedule="poly", warmup=0.01),
        batch_size=16,
        steps=80_000,
    )
