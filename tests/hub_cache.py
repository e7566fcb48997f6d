"""Files of weights as the Hugging Face hub's client leaves them in its cache."""

import json

import torch
from safetensors.torch import save_file


def put_in_cache(cache, repository, tensors, revision="abc", config=None):
    folder = cache / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / revision
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(revision)
    save_file(tensors, snapshot / "model.safetensors")
    if config is not None:
        (snapshot / "config.json").write_text(json.dumps(config))


def timms_vgg(state, blocks):
    """Random tensors under timm's names for the VGG without batch norm in ``state``, one of our networks'.

    timm's VGG keeps fc6 and fc7 as convolutions called pre_logits.fc1 and fc2.
    """
    names, position = {}, 0
    for block, count in enumerate(blocks, start=1):
        for i in range(1, count + 1):
            names[f"features.{position}"] = f"encoder.conv{block}_{i}"
            position += 2
        position += 1
    names |= {"pre_logits.fc1": "encoder.fc6", "pre_logits.fc2": "encoder.fc7"}
    return {
        f"{theirs}.{kind}": torch.randn(state[f"{ours}.{kind}"].shape) * 0.1
        for theirs, ours in names.items()
        for kind in ("weight", "bias")
    }
