"""The classes of a proposed ``dataset.yaml``: what is known, what was seen, what must be asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sceneparse.data.classes import BACKGROUND_NAMES, SourceClasses
from sceneparse.data.proposed_text import Line, quoted
from sceneparse.data.survey import MOST_COLORS, Survey
from sceneparse.data.values import SOFT, percent
from sceneparse.errors import InputError
from sceneparse.labels import LABEL_SETS, Color

MOST_PROPOSED = 64
"""Colours that are proposed as classes; more are soft edges."""

RARE = 0.001
"""Of more colours than :data:`MOST_PROPOSED`, those of a smaller share of the pixels are left out."""

_VOID_NAMES = ("void", "ignore", "ignored", "unknown", "undefined")
_NO_EFFECT = "without effect on loss and score"
_OPEN = 'take away the "# " of one of the lines with QUESTION'


@dataclass
class ProposedClasses:
    """Lines of the file, and sentences for the person.

    Args:
        form: of the masks.
        lines: ``classes`` or ``label_set``, ``ignore``, ``uncovered``.
        questions: what must be answered before the data can be used.
        notes: what should be looked at.
    """

    form: str
    lines: list[Line] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def propose_classes(
    found: Survey, form: str, known: SourceClasses | None, said_by: str, root: Path
) -> ProposedClasses:
    """Classes, ignored numbers, and questions.

    Args:
        found: what the masks hold.
        form: of the masks, as far as their names tell.
        known: the classes that a file, documents or the layout say; None: nothing does.
        said_by: what says them, in words, or the name of a shipped list.
        root: named in errors.

    Raises:
        InputError: the masks hold no class numbers or colours.
    """
    _refuse_pictures(found, root)
    if form not in ("index", "color"):
        assert known is not None
        return _of_shapes(found, form, known, said_by)
    if found.colors:
        return _of_colors(found, known, said_by)
    if _is_binary(found, known):
        return _binary(found, known, said_by)
    if known is None or (said_by in LABEL_SETS and _strange(found, known)):
        return _of_numbers(found, said_by)
    return _of_known_numbers(found, known, said_by)


def _refuse_pictures(found: Survey, root: Path) -> None:
    """Masks that are photographs or have soft edges have no classes to propose."""
    seen = found.seen
    scattered = len(seen) > MOST_PROPOSED and (max(seen) + 1 > 1.5 * len(seen) or len(seen) > 192)
    if 2 * found.motley > found.masks or scattered:
        held = f"{len(seen)} different values" if scattered else f"more than {MOST_COLORS} colours each"
        raise InputError(
            f"the masks hold {held}: photographs, or masks with soft (antialiased, resized) edges",
            where=root,
            fix="export them again from the labelling tool as PNG, without smoothing",
        )


def _share(found: Survey, pixels: int) -> str:
    return f"{percent(pixels, found.pixels)} of the pixels"


def _entry(
    name: str, comment: str, *, number: int | None = None, color: Color | None = None, ask: bool = False
) -> Line:
    """A class of the list; commented out where it is asked whether it is one."""
    parts = [] if number is None else [f"number: {number}"]
    parts.append(f"name: {quoted(name)}")
    parts += [] if color is None else [f"color: [{', '.join(map(str, color))}]"]
    code = f"- {{{', '.join(parts)}}}"
    return Line(f"  # {code}", f"QUESTION: {comment}") if ask else Line(f"  {code}", comment)


def _numbered(found: Survey, name: str, number: int, color: Color | None = None) -> Line:
    return _entry(name, _share(found, int(found.numbers[number])), number=number, color=color)


def _strange(found: Survey, known: SourceClasses) -> list[int]:
    """Numbers in the masks that the class list does not have, but for 255."""
    have = {*known.numbers, *known.ignored, 255}
    return [number for number in found.seen if number not in have]


def _ignore_line(found: Survey, ignored: Sequence[int], names: Sequence[str] = ()) -> Iterator[Line]:
    """Ignored numbers; or, commented out, classes whose names sound like none."""
    void = [name for name in names if name.lower() in _VOID_NAMES]
    if ignored:
        pixels = int(found.numbers[list(ignored)].sum())
        yield Line(f"ignore: [{', '.join(map(str, ignored))}]", f"{_share(found, pixels)}: {_NO_EFFECT}")
    elif void:
        yield Line(f"# ignore: [{', '.join(map(quoted, void))}]", f"if this is no class: {_NO_EFFECT}")


# ---------------------------------------------------------------------- pictures of numbers


def _of_numbers(found: Survey, said_by: str) -> ProposedClasses:
    """Nothing says the classes: each number is one, with a name to be replaced."""
    proposed = ProposedClasses(form="index")
    others = [number for number in found.seen if number != 255]
    ignored = [255] if 255 in found.seen and others and max(others) < max(2 * len(others), 8) else []
    proposed.lines.append(Line("classes:", "write the real names"))
    proposed.lines += [
        _numbered(found, f"class_{number}", number) for number in found.seen if number not in ignored
    ]
    proposed.lines += _ignore_line(found, ignored)
    first = next(number for number in found.seen if number not in ignored)
    proposed.notes.append(f"the names, such as class_{first}: nothing says what the numbers mean")
    if said_by in LABEL_SETS:
        proposed.notes.append(
            f"the layout's own classes ({said_by}) do not fit: the masks hold other numbers"
        )
    if ignored:
        proposed.notes.append("255 is proposed as ignored, as it mostly is; if it is a class, name it")
    return proposed


def _of_known_numbers(found: Survey, known: SourceClasses, said_by: str) -> ProposedClasses:
    """A class file, or a shipped list that has every number."""
    proposed = ProposedClasses(form="index")
    ignored = list(known.ignored)
    if found.numbers[255] and 255 not in (*known.numbers, *ignored):
        ignored.append(255)
        proposed.notes.append(f"255 is not in {said_by} and proposed as ignored; if it is a class, name it")
    if said_by in LABEL_SETS:
        used = [number for number in known.numbers if found.numbers[number]]
        seen = f"{len(used)} of its {len(known.numbers)} classes occur"
        proposed.lines.append(Line(f"label_set: {said_by}", f"the layout's classes; {seen}"))
        proposed.lines.append(Line("", "If they are not yours: classes: [NAME, NAME, ...] instead"))
        proposed.lines += _ignore_line(found, [n for n in ignored if n not in known.ignored])
        proposed.notes.append(f"whether your classes are those of {said_by}: {seen}")
        return proposed
    numbers, strange = known.numbers, _strange(found, known)
    count = len(numbers)
    if list(numbers) == list(range(count)) and strange == [count] and not found.numbers[0]:
        numbers, strange = tuple(range(1, count + 1)), []
        proposed.notes.append(
            f"the numbers: the masks hold 1 to {count}, so the names of {said_by} begin at 1"
        )
    proposed.lines.append(Line("classes:", f"names from {said_by}"))
    for name, number, color in zip(known.names, numbers, known.colors, strict=True):
        proposed.lines.append(_numbered(found, name, number, color))
    for number in strange[:MOST_PROPOSED]:
        ask = f"{_share(found, int(found.numbers[number]))}, not in {said_by}: a class?"
        proposed.lines.append(_entry(f"class_{number}", ask, number=number, ask=True))
    if strange:
        told = ", ".join(map(str, strange[:8])) + (", ..." if len(strange) > 8 else "")
        proposed.questions.append(
            f'values that {said_by} does not have: {told}. For each: is it a class (take away its "# " and '
            "name it), or to be ignored (write it into ignore)?"
        )
    proposed.lines += _ignore_line(found, ignored, known.names)
    return proposed


def _is_binary(found: Survey, known: SourceClasses | None) -> bool:
    named = known is not None and 255 in (*known.numbers, *known.ignored)
    return 255 in found.seen and set(found.seen) <= {0, 255} and not named


def _binary(found: Survey, known: SourceClasses | None, said_by: str) -> ProposedClasses:
    """0 and 255: which of the two usual meanings it has is asked."""
    proposed = ProposedClasses(form="index")
    names = list(known.names) if known is not None and said_by not in LABEL_SETS else []
    ground = next((name for name in names if name.lower() in BACKGROUND_NAMES), None)
    if ground is None:
        ground = names.pop(0) if len(names) > 1 else "background"
    name = next((name for name in names if name != ground), "object")
    share = _share(found, int(found.numbers[255]))
    proposed.lines += [
        Line("classes:", _OPEN),
        _numbered(found, ground, 0),
        _entry(name, f"{share}: a class of its own? Then give it its name", number=255, ask=True),
    ]
    proposed.lines.append(Line("# ignore: [255]", f"QUESTION: or {_NO_EFFECT}?"))
    proposed.questions.append(f"255, in {share}: a class, or to be ignored? In the file, {_OPEN}")
    return proposed


# ---------------------------------------------------------------------- pictures of colours


def _of_colors(found: Survey, known: SourceClasses | None, said_by: str) -> ProposedClasses:
    proposed = ProposedClasses(form="color")
    colors = found.colors.most_common()
    named: dict[Color, str] = {}
    if known is not None:
        named = {c: n for n, c in zip(known.names, known.colors, strict=True) if c is not None}
    covered = sum(pixels for color, pixels in colors if color in named)
    if said_by in LABEL_SETS and 2 * covered < found.pixels:  # a layout's list is only a guess
        named = {}
    if named:
        assert known is not None
        proposed.lines.append(Line("classes:", f"names from {said_by}"))
        for name, color in zip(known.names, known.colors, strict=True):
            if color is not None:
                proposed.lines.append(_entry(name, _share(found, found.colors[color]), color=color))
        _ask_colors(proposed, found, [entry for entry in colors if entry[0] not in named], said_by)
        proposed.lines += _ignored_names(known)
        return proposed
    often = [entry for entry in colors if len(colors) <= MOST_PROPOSED or entry[1] >= RARE * found.pixels]
    proposed.lines.append(Line("classes:", "write the real names"))
    for i, (color, pixels) in enumerate(often[:MOST_PROPOSED], start=1):
        proposed.lines.append(_entry(f"color_{i}", _share(found, pixels), color=color))
    proposed.notes.append("the names, such as color_1: nothing says what the colours mean")
    rest = len(colors) - len(often[:MOST_PROPOSED])
    if rest:
        proposed.lines.append(Line("", f"{rest} more colours are rare: soft edges? check will name them"))
        proposed.notes.append(f"{rest} rare colours that are left out: soft (antialiased) edges?")
    if found.numbers.any():
        proposed.notes.append(
            "some masks hold numbers, not colours: they count as numbers of the list, from 0"
        )
    return proposed


def _ask_colors(
    proposed: ProposedClasses, found: Survey, strange: Sequence[tuple[Color, int]], said_by: str
) -> None:
    if not strange:
        return
    if len(strange) > SOFT:
        proposed.lines.append(
            Line("", f"{len(strange)} more colours occur, too many for classes: soft edges?")
        )
        proposed.notes.append(f"{len(strange)} colours that {said_by} does not have: check will name them")
        return
    for i, (color, pixels) in enumerate(strange, start=1):
        ask = f"{_share(found, pixels)}, not in {said_by}: a class?"
        proposed.lines.append(_entry(f"color_{i}", ask, color=color, ask=True))
    told = ", ".join(str(color) for color, _ in strange[:8])
    proposed.questions.append(
        f'colours that {said_by} does not have: {told}. For each: is it a class (take away its "# " and name '
        "it), or to be ignored (the same, and write its name into ignore)?"
    )


def _ignored_names(known: SourceClasses) -> Iterator[Line]:
    names = [
        quoted(n) for n, number in zip(known.names, known.numbers, strict=True) if number in known.ignored
    ]
    if names:
        yield Line(f"ignore: [{', '.join(names)}]", _NO_EFFECT)


# ---------------------------------------------------------------------- shapes, a file for each class


def _of_shapes(found: Survey, form: str, known: SourceClasses, said_by: str) -> ProposedClasses:
    proposed = ProposedClasses(form=form)
    proposed.lines.append(Line("classes:", f"names from {said_by}"))
    for name, number in zip(known.names, known.numbers, strict=True):
        proposed.lines.append(_numbered(found, name, number))
    pixels = 0 if found.uncovered is None else int(found.numbers[found.uncovered])
    if pixels:
        used = {*known.numbers, *known.ignored, found.uncovered}
        free = int(np.flatnonzero([number not in used for number in range(len(used) + 1)])[0])
        where = f"{percent(pixels, found.pixels)} of the pixels are covered by nothing"
        proposed.lines.append(_entry("background", f"{where}: a class of their own?", number=free, ask=True))
        proposed.lines.append(Line("# uncovered: ignore", f"QUESTION: or {_NO_EFFECT}?"))
        proposed.questions.append(f"{where}: a class, or to be ignored? In the file, {_OPEN}")
    ignored = [number for number in known.ignored if number not in known.numbers]
    proposed.lines += _ignore_line(found, ignored, known.names)
    return proposed
