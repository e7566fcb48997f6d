"""The tutorial's run: FCN-8s on VGG19 for MIT Scene Parsing, Adam at 1e-4, batch 3.

Paper:    Long, Shelhamer, Darrell, Fully Convolutional Networks for Semantic Segmentation, CVPR 2015; the
          optimizer, batch and size are those of the TensorFlow tutorial.
Data:     ADE20K
Expected: the tutorial reports pictures only; FCN-8s of the benchmark paper has mean IoU 0.294 on ADE20K val.
Hardware: any GPU from 8 GB.
Hours:    48 on a GTX 1070, the tutorial says; not run here.
Command:  sceneparse train ADEChallengeData2016 --out runs/ade20k --init imagenet

What differs from the tutorial: pictures keep their aspect ratio (``--set data.resize=squash`` with
``--set data.short_side=224`` is its square), 0 is ignored (``--label-set ade20k-151`` makes it a class), the
head is the paper's (``--model fcn8s-wide-vgg19`` is the tutorial's), pooling is max
(``--set model.options.pooling=source``), views are scaled and recoloured at random.
"""

from __future__ import annotations

from sceneparse.config import DataConfig, ModelConfig, OptimizerConfig, RunConfig
from sceneparse.data.augment import Augmentation


def fcn8s_tutorial() -> RunConfig:
    """Adam 1e-4, batch 3, 200,000 steps at 224x224."""
    return RunConfig(
        recipe="fcn8s-tutorial",
        data=DataConfig(short_side=256),
        augmentation=Augmentation(crop=(224, 224)),
        model=ModelConfig(name="fcn8s-vgg19"),
        optimizer=OptimizerConfig(name="adam", lr=1e-4),
        batch_size=3,
        steps=200_000,
    )
