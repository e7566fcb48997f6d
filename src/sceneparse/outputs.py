"""Places for results, checked before the work that fills them begins."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from sceneparse.errors import InputError


def output_folder(path: str | Path) -> Path:
    """``path``, made if need be, with the certainty that files can be written to it.

    Raises:
        InputError: it is a file or lies in one, or cannot be written to.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, prefix=".", suffix=".tmp")
        os.close(handle)
        os.unlink(name)
    except (FileExistsError, NotADirectoryError):
        raise InputError(
            "a file is where the folder for the results should be", where=path, fix="choose another folder"
        ) from None
    except OSError as error:
        raise InputError(
            f"the folder for the results cannot be written to: {error.strerror}",
            where=path,
            fix="choose another folder, or correct its permissions",
        ) from None
    return folder


def output_file(path: str | Path) -> Path:
    """``path``, its folder made if need be, with the certainty that a file of this name can be written.

    Raises:
        InputError: it is a folder, or its folder cannot be written to.
    """
    file = Path(path)
    if file.is_dir():
        raise InputError(
            "a folder is where the file should be written", where=path, fix="name a file, like numbers.json"
        )
    output_folder(file.parent)
    return file
