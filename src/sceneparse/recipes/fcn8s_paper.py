"""The paper's run: SGD with momentum 0.9, batch 20, biases at twice the rate without decay.

Paper:    Long, Shelhamer, Darrell, Fully Convolutional Networks for Semantic Segmentation, CVPR 2015,
          section 4.3: fixed learning rate 1e-4 for FCN-VGG16, weight decay 5e-4, dropout kept.
Data:     PASCAL VOC, or any
Expected: VOC seg11valid 65.5 (FCN-8s, their weights). Not run here: it starts from ImageNet weights.
Hardware: a GPU; batch 20 is 5 samples accumulated four times.
Hours:    about 6 on an RTX 3090; reckoned, not run. 7.5e17 operations at 35 TFLOP/s.
Command:  sceneparse train DATA --out runs/paper --recipe fcn8s-paper --init imagenet
"""

from __future__ import annotations

from sceneparse.config import DataConfig, ModelConfig, OptimizerConfig, RunConfig
from sceneparse.data.augment import Augmentation
from sceneparse.models import ModelOptions


def fcn8s_paper() -> RunConfig:
    """SGD 1e-4, momentum 0.9, batch 20, no augmentation but mirroring, at-once scaling of the skips."""
    return RunConfig(
        recipe="fcn8s-paper",
        data=DataConfig(short_side=384),
        augmentation=Augmentation(crop=(384, 384), scale=(1.0, 1.0), photometric=0.0),
        model=ModelConfig(name="fcn8s-vgg16", options=ModelOptions(at_once=True)),
        optimizer=OptimizerConfig(name="sgd", lr=1e-4, momentum=0.9, weight_decay=5e-4, bias_lr_factor=2.0),
        batch_size=5,
        accumulate=4,
        steps=100_000,
    )
