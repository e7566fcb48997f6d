"""``predict [MODEL] INPUT...``: which of the words on a command line is the model."""

from __future__ import annotations

import glob
import shlex
from collections.abc import Sequence
from pathlib import Path

from sceneparse.data.decode import IMAGE_SUFFIXES
from sceneparse.deploy.bundle import CONFIG, WEIGHTS, is_model_name
from sceneparse.deploy.shipped import DEFAULT_SHIPPED, shipped_names
from sceneparse.errors import InputError, nearest

_WEIGHT_FILES = (".safetensors", ".ckpt", ".pt", ".pth", ".mat", ".onnx")
_OF_A_MODEL = ("config.yaml", CONFIG, WEIGHTS, f"model/{CONFIG}", f"model/{WEIGHTS}")
"""Any of them makes a folder a model, be it a damaged one, and not a folder of photos: a run has pictures."""


def model_and_inputs(words: Sequence[str]) -> tuple[str | None, Sequence[str]]:
    """The model, None where none is named, and the photos, folders and globs.

    The first word is the model if it is a name, or a folder with a file of a run or a bundle.

    Args:
        words: at least one.

    Raises:
        InputError: no photos beside the model, the model in another place, a file of weights, a word that
            may be either, or is nothing that there is.
    """
    first, *others = words
    for word in others:
        if (is_model_name(word) and not Path(word).exists()) or _is_model_folder(word):
            raise InputError(
                "a model among the photos: only the first word can be the model",
                where=word,
                fix=f"name one model, first: sceneparse predict {shlex.quote(word)} PHOTO",
            )
    if _is_model_folder(first):
        pass
    elif is_model_name(first):
        _refuse_ambiguous(first)
    else:
        _refuse_strange(first)
        return None, words
    if not others:
        raise InputError(
            "this is a model, and no photos are named",
            where=first,
            fix=f"name them after the model: sceneparse predict {shlex.quote(first)} PHOTO",
        )
    return first, others


def _is_model_folder(word: str) -> bool:
    return any((Path(word) / name).is_file() for name in _OF_A_MODEL)


def _refuse_ambiguous(name: str) -> None:
    if Path(name).exists():
        model = "without a name it is used" if name == DEFAULT_SHIPPED else "use it from another folder"
        raise InputError(
            f"{name} is the name of a shipped model, and something else in this folder",
            where=Path(name).resolve(),
            fix=f"for what is here write {Path('.', name).absolute()}; for the model: {model}",
        )


def _refuse_strange(word: str) -> None:
    """What is neither a model nor photos: :func:`~sceneparse.prediction.files.find_inputs` names the rest."""
    path = Path(word)
    if path.is_file() and path.suffix.lower() in _WEIGHT_FILES:
        raise InputError(
            "a file of weights, without classes and preprocessing",
            where=word,
            fix="name the run folder or the bundle folder that it is of",
        )
    if not (path.exists() or glob.has_magic(word) or path.suffix.lower() in IMAGE_SUFFIXES):
        names = shipped_names()
        raise InputError(
            f"neither a model nor photos: there is no such file or folder.{nearest(word, names)}",
            where=word,
            fix=f"check the path; models by name: {', '.join(names) or 'none here'}; see: sceneparse models",
        )
