"""What ablations.py trains: a study is a recipe, and changes of it that are trained alike.

Settings are written as ``sceneparse train --set`` takes them. A variant takes one choice of the recipe back,
or tries one that the recipe has not made; its row says what the score of the recipe becomes with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One row.

    Args:
        what: the change, in words.
        settings: by dotted name, text as ``--set`` takes it.
        pictures: times those that the base sees, for changes that make a step dearer or cheaper and are to be
            compared at the same time: what step_costs.py finds. The table says the minutes of every row.
    """

    what: str
    settings: dict[str, str]
    pictures: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Study:
    """Variants that are compared with one base, all trained with the same budget.

    Args:
        title: of the table.
        recipe: where all settings start from.
        base: the base, in words.
        samples: pictures that a run sees, where the command line says no other number.
        variants: by name; each differs from the base.
        settings: of the base and every variant; a variant's own go before them.
        about: what else to know before reading the table.
    """

    title: str
    recipe: str
    base: str
    samples: int
    variants: dict[str, Variant]
    settings: dict[str, str] = field(default_factory=dict)
    about: str = ""


BASE = "base"
"""Name of the base among the variants of a study."""

BACKBONE = "slimresnet20"
"""Of the comparison of heads."""

STUDIES: dict[str, Study] = {
    "camvid-small": Study(
        title="Choices of camvid-small",
        recipe="camvid-small",
        base="the recipe, shortened",
        samples=8000,
        variants={
            "adamw": Variant(
                what="AdamW 3e-3 in place of Muon",
                settings={"optimizer.name": "adamw", "optimizer.lr": "3e-3", "optimizer.clip_norm": "5"},
            ),
            "whole-views": Variant(
                what="no small views at the start; as many pictures as take the same time",
                settings={"augmentation.early": "0"},
                pictures=0.75,
            ),
            "longer-small-views": Variant(
                what="small views for three quarters of the steps; as many pictures as take the same time",
                settings={"augmentation.early": "0.75"},
                pictures=1.24,
            ),
            "whole-pictures": Variant(
                what="views of 352x480, nearly the whole picture; as many as take the same time",
                settings={"augmentation.crop": "[352, 480]"},
                pictures=0.54,
            ),
            "constant-rate": Variant(
                what="rate constant after its rise, not falling to 0",
                settings={"optimizer.schedule": "constant"},
            ),
            "no-warmup": Variant(what="full rate from the first step on", settings={"optimizer.warmup": "0"}),
            "half-rate": Variant(what="half the rate", settings={"optimizer.lr": "0.01"}),
            "double-rate": Variant(what="twice the rate", settings={"optimizer.lr": "0.04"}),
            "no-decay": Variant(what="no weight decay", settings={"optimizer.weight_decay": "0"}),
            "no-adjustment": Variant(
                what="class weights without logit adjustment", settings={"loss.logit_adjustment": "false"}
            ),
            "no-class-weights": Variant(
                what="loss without class weights",
                settings={"loss.class_weights": "none", "loss.logit_adjustment": "false"},
            ),
            "learned-upsampling": Variant(
                what="likewise without logit adjustment, which does not go with it: last upsampling learned",
                settings={"model.options.upsampling": "learned", "loss.logit_adjustment": "false"},
            ),
            "half-colour": Variant(
                what="colours changed half as much", settings={"augmentation.photometric": "0.5"}
            ),
            "no-averaging": Variant(what="last weights, not averaged", settings={"optimizer.ema": "0"}),
            "no-scaling": Variant(
                what="views of one size, not scaled", settings={"augmentation.scale": "[1, 1]"}
            ),
            "no-flip": Variant(what="views not mirrored", settings={"augmentation.flip": "false"}),
            "stride-4": Variant(
                what="features from stride 4 on", settings={"model.name": f"fcn4s-fused-{BACKBONE}"}
            ),
            "slimresnet32": Variant(
                what="SlimResNet-32; as many pictures as take the same time",
                settings={"model.name": "fcn2s-fused-slimresnet32"},
                pictures=0.46,
            ),
            "hgnetv2": Variant(
                what="HGNetV2-B0 of timm, from stride 4 on",
                settings={"model.name": "fcn4s-fused-hgnetv2_b0"},
            ),
        },
    ),
    "heads": Study(
        title=f"Heads over {BACKBONE}",
        recipe="camvid-small",
        base="FCN-8s, the paper's head",
        settings={
            "model.name": f"fcn8s-{BACKBONE}",
            "model.options.upsampling": "bilinear",
            "model.options.dropout": "0",
        },
        about="All settings are those of the recipe, and every head upsamples bilinearly and drops nothing "
        "out, so that the head alone differs: FCN-2s fused is camvid-small itself. The same number of "
        "pictures is more time for a head that costs more; the variant fcn8s-longer gives FCN-8s the time of "
        "FCN-2s fused.",
        samples=72_000,
        variants={
            "fcn8s-longer": Variant(
                what="FCN-8s, as many minutes as FCN-2s fused takes", settings={}, pictures=1.37
            ),
            "fcn4s": Variant(
                what="FCN-4s: the paper's head with one skip more",
                settings={"model.name": f"fcn4s-{BACKBONE}"},
            ),
            "fcn8s-fused": Variant(
                what="FCN-8s fused: features are fused, then scored",
                settings={"model.name": f"fcn8s-fused-{BACKBONE}"},
            ),
            "fcn4s-fused": Variant(
                what="FCN-4s fused: likewise, with one skip more",
                settings={"model.name": f"fcn4s-fused-{BACKBONE}"},
            ),
            "fcn2s-fused": Variant(
                what="FCN-2s fused: with two skips more",
                settings={"model.name": f"fcn2s-fused-{BACKBONE}"},
            ),
        },
    ),
}
"""By name; ``python benchmarks/ablations.py NAME``."""
