"""What can be named as a model, what of it is here, and what needs a network."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sceneparse.deploy.bundle import WEIGHTS, read_configuration
from sceneparse.deploy.shipped import DEFAULT_SHIPPED, shipped_folder, shipped_names
from sceneparse.models import DEFAULT_MODEL, HEADS
from sceneparse.models.resnet import NETWORKS
from sceneparse.models.smp import PREFIX, smp_version
from sceneparse.models.smp_weights import smp_weights_settings
from sceneparse.models.vgg import BLOCKS
from sceneparse.recipes import DEFAULT_RECIPE, RECIPES

CHECKPOINTS = {
    **{
        f"segformer-b{size}-{side}x{side}-ade-160k": f"SegFormer-B{size}"
        for size, side in enumerate((512, 512, 512, 512, 512, 640))
    },
    **{
        f"upernet-{backbone}": f"UPerNet on {backbone}"
        for backbone in (
            *("convnext-tiny", "convnext-small", "convnext-base", "convnext-large", "convnext-xlarge"),
            *("swin-tiny", "swin-small", "swin-large"),
        )
    },
    "dpt-large-ade20k": "DPT on ViT-L/16",
}
"""Published checkpoints of segmentation_models.pytorch for ADE20K's 150 classes, and what they are."""

KINDS = {
    "shipped": "Models that come with sceneparse (predict NAME, evaluate NAME, train --init NAME)",
    "recipe": "Recipes (train --recipe NAME)",
    "head": "This package's heads, on a backbone below that has their strides (train --model NAME)",
    "backbone": "Backbones (in place of BACKBONE; train --init imagenet starts from their weights)",
    "architecture": "Architectures of segmentation_models.pytorch, on any encoder below (train --model NAME)",
    "encoder": "Encoders of segmentation_models.pytorch (in place of ENCODER)",
    "checkpoint": "Checkpoints for ADE20K (predict NAME, evaluate NAME, train --init NAME)",
}
"""Kinds of entries, in the order in which they are shown."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Something that can be named.

    Args:
        name: as typed; BACKBONE and ENCODER in it stand for any of those.
        kind: a key of :data:`KINDS`.
        family: of a backbone or encoder: entries of one family are shown together.
        about: in a few words.
        weights: "here" (in the package or the hub's cache), "network" (published, to be fetched), "none"
            (there are none) or "" (no weights go with the name).
    """

    name: str
    kind: str
    family: str = ""
    about: str = ""
    weights: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def catalogue(word: str | None = None) -> list[Entry]:
    """Everything that can be named, by kind.

    Args:
        word: only entries with it in their name, kind, family or description, in any case; None: all.
    """
    entries = [*_shipped(), *_recipes(), *_heads(), *_backbones(), *_smp(), *_checkpoints()]
    if word is None:
        return entries
    wanted = word.lower()
    return [e for e in entries if any(wanted in t.lower() for t in (e.name, e.kind, e.family, e.about))]


def cached_repositories() -> set[str]:
    """``OWNER/NAME`` of what is in the hub's cache with a file of weights."""
    from huggingface_hub import constants

    found = set()
    for folder in Path(constants.HF_HUB_CACHE).glob("models--*--*"):
        files = (folder.glob(f"snapshots/*/*{suffix}") for suffix in (".safetensors", ".bin"))
        if any(next(of_kind, None) is not None for of_kind in files):
            found.add(folder.name.removeprefix("models--").replace("--", "/", 1))
    return found


def _shipped() -> Iterator[Entry]:
    for name in shipped_names():
        folder = shipped_folder(name)
        said = read_configuration(folder).in_words()
        size = (folder / WEIGHTS).stat().st_size
        default = " (what predict uses where no model is named)" if name == DEFAULT_SHIPPED else ""
        about = f"{said}, {size / 1e6:.1f} MB{default}"
        yield Entry(name=name, kind="shipped", about=about, weights="here")


def _recipes() -> Iterator[Entry]:
    for name, recipe in RECIPES.items():
        header = (sys.modules[recipe.__module__].__doc__ or "").partition("\n")[0].rstrip(".")
        default = " (default)" if name == DEFAULT_RECIPE else ""
        yield Entry(name=name, kind="recipe", about=f"{header}{default}")


def _heads() -> Iterator[Entry]:
    for head, strides in HEADS.items():
        default = f"; {DEFAULT_MODEL} is the default" if DEFAULT_MODEL.startswith(f"{head}-vgg") else ""
        said = f"features at stride {', '.join(map(str, strides))}{default}"
        yield Entry(name=f"{head}-BACKBONE", kind="head", about=said)


def _backbones() -> Iterator[Entry]:
    import timm

    here = cached_repositories()
    for name in NETWORKS:
        about = "this package's own, for random weights"
        yield Entry(name=name, kind="backbone", family="slimresnet", about=about, weights="none")
    ours = [f"{name}{suffix}" for name in BLOCKS for suffix in ("", "_bn")]
    for name in timm.list_models():
        family = timm.models.model_entrypoint(name).__module__.rpartition(".")[2]
        about = "this package's own, after the paper" if name in ours else "timm"
        yield Entry(
            name=name, kind="backbone", family=family, about=about, weights=_timm_weights(timm, name, here)
        )


def _timm_weights(timm: Any, name: str, here: set[str]) -> str:
    settings = timm.models.get_pretrained_cfg(name)
    repository = settings.hf_hub_id if settings is not None else None
    return _where(repository, here)


def _where(repository: str | None, here: set[str]) -> str:
    if not repository:
        return "none"
    return "here" if repository in here else "network"


def _smp() -> Iterator[Entry]:
    if smp_version() is None:
        return
    import segmentation_models_pytorch as smp

    here = cached_repositories()
    for arch, made in smp.MODEL_ARCHITECTURES_MAPPING.items():
        yield Entry(name=f"{PREFIX}{arch}-ENCODER", kind="architecture", about=made.__name__)
    for name, facts in smp.encoders.encoders.items():
        settings = smp_weights_settings(facts)
        family = facts["encoder"].__module__.rpartition(".")[2]
        weights = _where(settings.get("repo_id"), here)
        yield Entry(name=name, kind="encoder", family=family, about="smp", weights=weights)
    yield Entry(name="tu-BACKBONE", kind="encoder", family="timm", about="any of the backbones above")


def _checkpoints() -> Iterator[Entry]:
    here = cached_repositories()
    for name, about in CHECKPOINTS.items():
        repository = f"smp-hub/{name}"
        yield Entry(
            name=repository,
            kind="checkpoint",
            about=f"{about}, 150 classes of ADE20K, smp",
            weights=_where(repository, here),
        )
