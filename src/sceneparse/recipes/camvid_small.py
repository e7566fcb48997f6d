"""CamVid from random weights on two processor cores: the network that ships with the package.

Paper:    features of strides 2 to 32 fused as in Lin et al., Feature Pyramid Networks, CVPR 2017, over a
          narrow residual network (He et al. 2016, 2019); Muon (Jordan et al. 2024); class weights of ENet
          (Paszke et al. 2016) with logit adjustment (Menon et al. 2021). What each choice brings:
          docs/ablations.md.
Data:     CamVid
Expected: mean IoU 0.757 ± 0.001 over three seeds (val, void ignored, single scale, no flip):
          docs/results.md.
Hardware: two processor cores, no GPU.
Hours:    2.0 to 2.4 on one core, the other one busy; about 1.1 on both, reckoned.
Command:  sceneparse train CAMVID --out runs/camvid --recipe camvid-small
"""

from __future__ import annotations

from sceneparse.config import DataConfig, LossConfig, ModelConfig, OptimizerConfig, RunConfig
from sceneparse.data.augment import Augmentation
from sceneparse.models import ModelOptions


def camvid_small() -> RunConfig:
    """FCN-2s with fused features over SlimResNet-20, Muon with a polynomial schedule, averaged weights."""
    return RunConfig(
        recipe="camvid-small",
        data=DataConfig(resize="none"),
        augmentation=Augmentation(
            crop=(256, 320), scale=(0.6, 1.7), photometric=1.0, early=0.5, early_size=0.6
        ),
        model=ModelConfig(
            name="fcn2s-fused-slimresnet20", options=ModelOptions(upsampling="bilinear", dropout=0.0)
        ),
        optimizer=OptimizerConfig(
            name="muon",
            lr=0.02,
            momentum=0.95,
            weight_decay=0.02,
            others_lr_factor=0.15,
            schedule="poly",
            warmup=0.05,
            ema=0.999,
        ),
        loss=LossConfig(class_weights="enet", logit_adjustment=True),
        batch_size=8,
        steps=9000,
        eval_every=900,
    )
