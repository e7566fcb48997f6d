"""CamVid with the source's network, FCN-8s on VGG19, here with batch norm and from random weights.

Paper:    Long, Shelhamer, Darrell, Fully Convolutional Networks for Semantic Segmentation, CVPR 2015, over
          VGG19 (Simonyan and Zisserman 2014) with batch norm, without which nineteen layers hardly learn from
          random weights; class weights of ENet (Paszke et al. 2016).
Data:     CamVid
Expected: not measured. From ImageNet weights others have 73.2 on val (FCN-8s on VGG16, the README of
          FCN-Segmentation-TensorFlow); from random weights it should stay below.
Hardware: a GPU from 8 GB, or two processor cores and 8 GB of memory.
Hours:    about 0.5 on an RTX 3090, about 18 on two cores; reckoned, not run. 2.4e16 operations at 15 TFLOP/s;
          a step of 8 pictures takes 9.7 s of one core's time, 6.7 GB of memory (AVX2, measured).
Command:  sceneparse train CAMVID --out runs/camvid --recipe camvid-fcn8s-vgg19

140 M parameters for 367 pictures: ``--init imagenet --lr 1e-4`` starts from weights that have seen more,
fc6 and fc7 among them, where there is a network or a cache to fetch them from.
"""

from __future__ import annotations

from sceneparse.config import DataConfig, LossConfig, ModelConfig, OptimizerConfig, RunConfig
from sceneparse.data.augment import Augmentation


def camvid_fcn8s_vgg19() -> RunConfig:
    """FCN-8s on VGG19 with batch norm, AdamW 3e-4 with a polynomial schedule, 260 passes over CamVid."""
    return RunConfig(
        recipe="camvid-fcn8s-vgg19",
        data=DataConfig(resize="none"),
        augmentation=Augmentation(crop=(256, 320), scale=(0.6, 1.7)),
        model=ModelConfig(name="fcn8s-vgg19_bn"),
        optimizer=OptimizerConfig(
            name="adamw", lr=3e-4, weight_decay=0.05, schedule="poly", warmup=0.05, clip_norm=5.0, ema=0.998
        ),
        loss=LossConfig(class_weights="enet"),
        batch_size=8,
        steps=12_000,
        eval_every=600,
    )
