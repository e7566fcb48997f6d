"""Weights on the Hugging Face hub: what timm's expect of pixels, and files in the hub's cache."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from sceneparse.errors import InputError
from sceneparse.normalization import IMAGENET, Normalization

FILE_NAMES = ("model.safetensors", "pytorch_model.bin")


def pretrained_facts(backbone: str) -> tuple[str, Normalization]:
    """Full name of timm's default weights for a backbone (``vgg19.tv_in1k``), and what they expect of pixels.

    Raises:
        InputError: unknown weight tag.
    """
    settings = _settings(backbone)
    if settings is None:
        return backbone, IMAGENET
    name = f"{settings.architecture}.{settings.tag}" if settings.tag else str(settings.architecture)
    return name, Normalization(mean=tuple(settings.mean), std=tuple(settings.std))


def cached_or_downloaded(backbone: str) -> Path:
    """The file with timm's weights for a backbone: from the cache without touching the network, or downloaded
    into it.

    Raises:
        InputError: timm has no weights for it; or as :func:`file_of`.
    """
    settings = _settings(backbone)
    repository = settings.hf_hub_id if settings is not None else None
    if not repository:
        raise InputError(
            f"timm has no ImageNet weights for {backbone!r}",
            where="weights imagenet",
            fix="name a file of weights, choose another backbone, or start at random",
        )
    return file_of(repository, (settings.hf_hub_filename,) if settings.hf_hub_filename else FILE_NAMES)


def file_of(repository: str, names: Sequence[str], *, revision: str | None = None) -> Path:
    """A file of a repository of the Hugging Face hub: from the cache without touching the network, or
    downloaded into it.

    ``HF_HOME``, ``HF_HUB_CACHE``, ``HF_HUB_OFFLINE`` and ``HF_ENDPOINT`` have their usual meaning.

    Args:
        repository: ``OWNER/NAME``.
        names: of the file; the first that is there.
        revision: commit; None: the newest.

    Raises:
        InputError: it is not in the cache and cannot be fetched.
    """
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    for name in names:
        cached = huggingface_hub.try_to_load_from_cache(repository, name, revision=revision)
        if isinstance(cached, str):
            return Path(cached)
    try:
        _require_network()
        for name in names:
            try:
                return Path(huggingface_hub.hf_hub_download(repository, name, revision=revision))
            except LocalEntryNotFoundError:
                raise
            except EntryNotFoundError:
                continue
        raise OSError(f"{repository} has none of {', '.join(names)}")
    except (OSError, ValueError) as error:  # the hub's own errors are of both kinds
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"the weights {repository} are not in the cache and could not be fetched ({reason})",
            where=f"cache folder {huggingface_hub.constants.HF_HUB_CACHE}",
            fix=f"connect to the network; or run 'hf download {repository}' where there is one and copy its "
            f"folder models--{repository.replace('/', '--')} into the cache folder; or give a weights file",
        ) from error


CHECKPOINTS = "smp-hub/"
"""Owner of the published checkpoints of segmentation_models.pytorch."""


def checkpoint_folder(repository: str) -> Path:
    """The folder of a checkpoint of segmentation_models.pytorch: in the cache, or downloaded into it.

    Args:
        repository: ``smp-hub/NAME``.

    Raises:
        InputError: as :func:`file_of`.
    """
    import huggingface_hub

    file_of(repository, ("config.json",))
    # Some have none, which the cache remembers.
    preprocessing = "albumentations_config_eval.json"
    if huggingface_hub.try_to_load_from_cache(repository, preprocessing) is None:
        with contextlib.suppress(InputError):
            file_of(repository, (preprocessing,))
    return file_of(repository, ("model.safetensors",)).parent


def _settings(backbone: str) -> Any:
    import timm

    try:
        return timm.models.get_pretrained_cfg(backbone)
    except RuntimeError as error:
        raise InputError(
            str(error),
            where="model name",
            fix=f"leave the tag out, or see timm.list_pretrained('{backbone.partition('.')[0]}')",
        ) from error


def _require_network() -> None:
    """Fails at once where the hub's name cannot be resolved; its client would try again for most of a
    minute."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise OSError("HF_HUB_OFFLINE is set")
    if not getproxies():  # behind a proxy, names may be resolved there only
        socket.getaddrinfo(urlsplit(constants.ENDPOINT).hostname, 443)
