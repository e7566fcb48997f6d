"""Fault: one thing that is wrong with a data set, in a form that people and programs can read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sceneparse.errors import InputError

MOST_NAMED = 20
"""How many faults an error names; it always counts them all."""

ERRORS = {
    "missing-mask": "image without a mask",
    "missing-image": "mask without an image",
    "same-stem": "several files with one name",
    "empty-file": "empty file",
    "unreadable": "damaged, cut-off or otherwise unreadable file",
    "size": "mask and image of different sizes",
    "values": "mask values outside the class list",
    "colors": "mask colours outside the class list",
    "binary": "mask of 0 and 255: what is 255?",
    "uncovered": "pixels that nothing covers",
    "lossy": "mask in a lossy format",
    "duplicate": "the same picture in two splits",
}
"""Faults that stop a training (``--skip-bad`` leaves the files out), with their titles."""

WARNINGS = {
    "turned": "photo turned by its EXIF data",
    "all-ignored": "mask without a pixel that counts",
    "never-trained": "class of the validation split that is never trained",
    "no-pixels": "class without a pixel",
}
"""Faults that are said, and stop nothing."""

WHY = {
    "missing-mask": "Without its mask nothing says what is on the image.",
    "missing-image": "A mask is paired with the image of the same name, and there is none.",
    "same-stem": "Images and masks are paired by name without ending: it must be clear which one is meant.",
    "empty-file": "The file has no bytes: a copy or a download was cut off.",
    "unreadable": "What cannot be decoded cannot be learned from.",
    "size": "Every pixel of the mask belongs to one pixel of the image.",
    "values": "A number that is no class cannot be learned or scored, and is never left out silently.",
    "colors": "A colour that is no class cannot be learned or scored, and is never left out silently.",
    "binary": "Only you know whether 255 is what is looked for or what is to be ignored.",
    "uncovered": "Only you know whether what nobody drew is a class of its own or to be ignored.",
    "lossy": "Lossy compression changes values: a pixel may have become another class.",
    "duplicate": "A score on a picture that was learned says nothing.",
    "turned": "Some labelling tools draw on the turned picture, some on the picture as it is stored.",
    "all-ignored": "The pair costs time and adds nothing.",
    "never-trained": "Its score will be 0 and lower the mean.",
    "no-pixels": "It is never learned, and left out of every mean.",
}
"""Why each kind matters, in a sentence."""


class DataError(InputError):
    """An InputError about a file of a data set, of a kind that a program can tell.

    Args:
        kind: key of :data:`ERRORS`.
        values: mask value or colour, and its number of pixels.
    """

    def __init__(
        self,
        what: str,
        *,
        kind: str,
        where: str | Path | None = None,
        fix: str | None = None,
        values: Sequence[tuple[int | str, int]] = (),
    ) -> None:
        super().__init__(what, where=where, fix=fix)
        assert kind in ERRORS, kind
        self.kind = kind
        self.values = tuple(values)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing that is wrong.

    Args:
        kind: key of :data:`ERRORS` or :data:`WARNINGS`.
        what: what is wrong, with what was found and what was expected.
        fix: what to do about it.
        files: the files concerned, the wrong one first.
        split: "train", "val" or "test"; None where it concerns all.
        stem: of the pair concerned; None where it concerns no pair.
        values: mask value or colour, and its number of pixels.
    """

    kind: str
    what: str
    fix: str
    files: tuple[Path, ...] = ()
    split: str | None = None
    stem: str | None = None
    values: tuple[tuple[int | str, int], ...] = ()

    def __post_init__(self) -> None:
        assert self.kind in ERRORS or self.kind in WARNINGS, self.kind

    @classmethod
    def of(
        cls, error: InputError, *, files: Sequence[Path], split: str | None = None, stem: str | None = None
    ) -> Fault:
        """The fault that an error tells of; "unreadable" unless it is a :class:`DataError`."""
        return cls(
            kind=error.kind if isinstance(error, DataError) else "unreadable",
            what=error.what,
            fix=error.fix or "correct or remove the file",
            files=tuple(files),
            split=split,
            stem=stem,
            values=error.values if isinstance(error, DataError) else (),
        )

    @property
    def stops(self) -> bool:
        """Whether it stops a training."""
        return self.kind in ERRORS

    def error(self) -> InputError:
        """The fault alone as an error."""
        where = " and ".join(map(str, self.files)) or None
        return InputError(self.what, where=where, fix=self.fix)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "kind": self.kind,
            "stops": self.stops,
            "what": self.what,
            "fix": self.fix,
            "files": [str(path) for path in self.files],
            "split": self.split,
            "stem": self.stem,
            "values": [{"value": value, "pixels": pixels} for value, pixels in self.values],
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Fault:
        """Inverse of :meth:`to_dict`."""
        return cls(
            kind=values["kind"],
            what=values["what"],
            fix=values["fix"],
            files=tuple(Path(path) for path in values["files"]),
            split=values["split"],
            stem=values["stem"],
            values=tuple((entry["value"], entry["pixels"]) for entry in values["values"]),
        )


class FaultsError(InputError):
    """Several faults in one error.

    Args:
        faults: those that stop; at least one.
        where: the data set.
    """

    def __init__(self, faults: Sequence[Fault], *, where: Path) -> None:
        told = [f"- {fault.error()!s}".replace("\n", "\n  ") for fault in faults[:MOST_NAMED]]
        if len(faults) > MOST_NAMED:
            told.append(f"and {len(faults) - MOST_NAMED} more")
        super().__init__(
            f"{len(faults)} fault{'s' if len(faults) > 1 else ''} in the data ({counted(faults)}):\n"
            + "\n".join(told),
            where=where,
            fix="correct or remove these files (`sceneparse check` lists them all), or go on without them: "
            "--skip-bad",
        )
        self.faults = tuple(faults)


def counted(faults: Sequence[Fault]) -> str:
    """How many there are of each kind, in words: ``31 x image without a mask, 1 x empty file``."""
    kinds = Counter(fault.kind for fault in faults)
    return ", ".join(f"{number} x {title(kind)}" for kind, number in kinds.most_common())


def title(kind: str) -> str:
    """The title of a kind of fault."""
    return ERRORS.get(kind) or WARNINGS[kind]
