"""Classes as a data set's masks have them, before merges, and how they become a :class:`LabelSet`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from sceneparse.errors import InputError, nearest
from sceneparse.labels import Color, LabelSet, distinct_colors, given_twice

MAX_NAME = 1000
"""Characters that a class name may have; with more it is some other text."""

BACKGROUND_NAMES = ("background", "_background_", "__background__", "bg", "unlabeled", "unlabelled")
"""Classes that take the pixels which no polygon and no class file covers, without being told."""


@dataclass(frozen=True, kw_only=True)
class SourceClasses:
    """Classes as the masks have them.

    Args:
        names: of the classes, in the order of the class file.
        numbers: source number of each, 0..65535, all different.
        colors: RGB of each as the class file says it, None where it does not.
        ignored: source numbers without effect on loss and score: of classes above or of none.
        uncovered: source number of pixels that no polygon and no class file covers; None: nobody has said.

    Raises:
        InputError: a name or number is given twice, or a name is endless.
    """

    names: tuple[str, ...]
    numbers: tuple[int, ...]
    colors: tuple[Color | None, ...]
    ignored: tuple[int, ...] = ()
    uncovered: int | None = None

    def __post_init__(self) -> None:
        assert len(self.names) == len(self.numbers) == len(self.colors)
        for what, values in (("name", self.names), ("number", self.numbers)):
            if twice := given_twice(values):
                raise InputError(f"class {what} given twice: {twice}", fix=f"give every class its own {what}")
        longest = max(map(len, self.names), default=0)
        if longest > MAX_NAME:
            raise InputError(
                f"a class name of {longest} characters; at most {MAX_NAME} can be read", fix="shorten it"
            )

    @classmethod
    def numbered(cls, names: Sequence[str], *, colors: Sequence[Color | None] | None = None) -> SourceClasses:
        """Classes numbered from 0 in the order given."""
        return cls(
            names=tuple(names),
            numbers=tuple(range(len(names))),
            colors=tuple(colors) if colors is not None else (None,) * len(names),
        )

    @classmethod
    def of(cls, labels: LabelSet) -> SourceClasses:
        """The classes of a label set."""
        return cls(
            names=labels.names, numbers=labels.file_numbers, colors=labels.palette, ignored=labels.ignored
        )

    @property
    def all_colored(self) -> bool:
        """Whether every class that counts has a colour."""
        rows = zip(self.numbers, self.colors, strict=True)
        return all(color is not None or number in self.ignored for number, color in rows)

    def number_of(self, name: str) -> int | None:
        """Source number of a class, None if there is no class of that name."""
        return self._number_of.get(name)

    @cached_property
    def _number_of(self) -> dict[str, int]:
        return dict(zip(self.names, self.numbers, strict=True))

    def ignoring(self, which: Sequence[int | str]) -> SourceClasses:
        """These classes with more of them ignored, by number or by name.

        Raises:
            InputError: no class has that name.
        """
        numbers = dict.fromkeys(self.ignored)
        for value in which:
            number = self.number_of(value) if isinstance(value, str) else value
            if number is None:
                raise InputError(
                    f"{value!r} is to be ignored, but is no class.{nearest(str(value), self.names)}",
                    fix="give a number of the masks, or a name from the class list",
                )
            numbers[number] = None
        return replace(self, ignored=tuple(numbers))

    def with_uncovered(self, said: str | None) -> SourceClasses:
        """These classes with the number of uncovered pixels decided.

        Args:
            said: "ignore", the name of a class, or None: then the first class of :data:`BACKGROUND_NAMES`,
                if there is one, and else nobody has said.

        Raises:
            InputError: no class has that name.
        """
        if said == "ignore":
            free = self.ignored[0] if self.ignored else self._free_number()
            return replace(self.ignoring([free]), uncovered=free)
        if said is None:
            said = next((name for name in self.names if name.lower() in BACKGROUND_NAMES), None)
            return self if said is None else replace(self, uncovered=self.number_of(said))
        number = self.number_of(said)
        if number is None:
            raise InputError(
                f"uncovered pixels are to be {said!r}, but no class is called so.{nearest(said, self.names)}",
                fix="uncovered: ignore, or the name of a class",
            )
        return replace(self, uncovered=number)

    def _free_number(self) -> int:
        used = set(self.numbers) | set(self.ignored)
        return 255 if 255 not in used else max(used) + 1

    def label_set(self, merge: Mapping[str, Sequence[str]] | None = None) -> LabelSet:
        """The classes that are trained and scored.

        Args:
            merge: new class to the names of those it takes in. It stands where the first of them stood and
                has that one's number and colour; files of predictions hold this number.

        Raises:
            InputError: a merged name is unknown, ignored or in two merges; a new name is that of a class
                outside its merge; every class is ignored.
        """
        into = self._merged_into(merge or {})
        drawn = distinct_colors(len(self.names))
        ignored = set(self.ignored)
        numbers: dict[str, int] = {}
        palette: list[Color] = []
        merged: list[tuple[int, int]] = []
        for i, (name, number, color) in enumerate(zip(self.names, self.numbers, self.colors, strict=True)):
            if number in ignored:
                continue
            new = into.get(name, name)
            if new in numbers:
                merged.append((number, numbers[new]))
                continue
            numbers[new] = number
            palette.append(color or drawn[i])
        if not numbers:
            raise InputError("every class is ignored", fix="leave at least one class that counts")
        return LabelSet(
            names=tuple(numbers),
            file_numbers=tuple(numbers.values()),
            palette=tuple(palette),
            ignored=self.ignored,
            merged=tuple(merged),
        )

    def _merged_into(self, merge: Mapping[str, Sequence[str]]) -> dict[str, str]:
        into: dict[str, str] = {}
        ignored = set(self.ignored)
        for new, old in merge.items():
            for name in old:
                number = self.number_of(name)
                if number is None:
                    raise InputError(
                        f"merge {new!r} takes in {name!r}, which is no class.{nearest(name, self.names)}",
                        fix=f"classes: {', '.join(self.names[:20])}",
                    )
                if number in ignored:
                    raise InputError(
                        f"merge {new!r} takes in {name!r}, which is ignored",
                        fix="take it out of the merge or out of the ignored values",
                    )
                if name in into:
                    raise InputError(f"{name!r} is in two merges", fix="leave it in one")
                into[name] = new
        for new in merge:
            if new in self._number_of and into.get(new, new) != new:
                raise InputError(f"{new!r} is merged into {into[new]!r} and is a merge itself")
            if new in self._number_of and new not in into:
                raise InputError(
                    f"the new class {new!r} is also a class outside its merge",
                    fix=f"{new}: [{new}, {', '.join(merge[new])}] takes it in too; or choose another name",
                )
        return into
