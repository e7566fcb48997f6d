"""CamVid from random weights as well as it can be done here: camvid-small, wider and deeper.

Paper:    as camvid-small.
Data:     CamVid
Expected: not measured: it was not run yet.
Hardware: two processor cores, or any GPU.
Hours:    about 3 on two cores; reckoned from camvid-small's, not run.
Command:  sceneparse train CAMVID --out runs/camvid --recipe camvid-best
"""

from __future__ import annotations

from dataclasses import replace

from sceneparse.config import RunConfig
from sceneparse.recipes.camvid_small import camvid_small


def camvid_best() -> RunConfig:
    """FCN-2s with fused features over SlimResNet-32, a ninth more steps."""
    small = camvid_small()
    return replace(
        small,
        recipe="camvid-best",
        model=replace(small.model, name="fcn2s-fused-slimresnet32"),
        steps=10_000,
        eval_every=1000,
    )
