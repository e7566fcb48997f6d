"""Numbers in masks: what they mean here, in words, and what the pattern of those that mean nothing tells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sceneparse.data.classes import BACKGROUND_NAMES, SourceClasses
from sceneparse.data.faults import DataError
from sceneparse.data.proposed_text import quoted
from sceneparse.labels import Color, LabelSet

MOST_SPELT = 8
"""How many values an error spells out."""

MOST_KEPT = 64
"""How many values a fault keeps, those of most pixels: a photograph taken for a 16-bit mask has thousands."""

SOFT = 16
"""More values outside the class list than this, scattered over 0..255, are no numbers of classes."""


def values_error(found: Sequence[tuple[int, int]], seen: NDArray[np.integer], labels: LabelSet) -> DataError:
    """The error about mask values that are neither class nor ignored.

    Args:
        found: these values and the pixels of each, ascending.
        seen: every value of the mask, or of all masks: what is to be done depends on the company.
        labels: the classes.
    """
    kept = sorted(sorted(found, key=lambda entry: -entry[1])[:MOST_KEPT])
    if _is_binary(seen, labels):
        return _binary(kept, seen, labels)
    said = ", ".join(f"{value} ({counted_pixels(pixels)})" for value, pixels in kept[:MOST_SPELT])
    more = f" and {len(found) - MOST_SPELT} more" if len(found) > MOST_SPELT else ""
    return DataError(
        f"mask values outside the class list: {said}{more}; {labels.describe()}",
        kind="values",
        values=kept,
        fix=_fix([value for value, _ in found], seen, labels),
    )


def counted_pixels(pixels: int) -> str:
    """``1 pixel``, ``2 pixels``."""
    return f"{pixels} pixel{'s' if pixels != 1 else ''}"


def _is_binary(seen: NDArray[np.integer], labels: LabelSet) -> bool:
    """Whether masks hold 0 and 255, or 255 alone, and 255 is no class."""
    values = set(seen.tolist())
    return 255 in values and values <= {0, 255} and 255 not in labels.known_numbers


def _binary(found: Sequence[tuple[int, int]], seen: NDArray[np.integer], labels: LabelSet) -> DataError:
    names = [name for name in labels.names if name.lower() not in BACKGROUND_NAMES]
    ground = next((name for name in labels.names if name not in names), None)
    if ground is None and len(names) > 1:
        ground, names = names[0], names[1:]
    # A list of one name most often names what is looked for, and 0 is the rest.
    name, ground = names[0] if names else "NAME", ground or "background"
    held = "only 255" if 0 not in seen else "only 0 and 255"
    return DataError(
        f"the mask holds {held}, the usual way to write a mask of one class, and 255 is not in the class "
        f"list: is it {f'the class {name!r}' if names else 'a class'}, or is it ignored? {labels.describe()}",
        kind="binary",
        values=found,
        fix=f"say it in dataset.yaml: `classes: {{0: {quoted(ground)}, 255: {quoted(name)}}}` if 255 is a "
        "class, `ignore: [255]` if it is to have no effect",
    )


def _fix(unknown: Sequence[int], seen: NDArray[np.integer], labels: LabelSet) -> str:
    """What to do, by the pattern of the values."""
    numbers, names = labels.file_numbers, labels.names
    count, highest = labels.num_classes, int(seen.max())
    from_zero = sorted(numbers) == list(range(count))
    from_one = "classes: {" + ", ".join(f"{i}: {quoted(name)}" for i, name in enumerate(names[:3], start=1))
    from_one += ", ...}" if count > 3 else "}"
    if from_zero and list(unknown) == [count] and seen.min() > 0:
        return (
            f"the masks hold 1 to {count} and the list numbers its {count} classes from 0: if the masks are "
            f"numbered from 1, say so in dataset.yaml: `{from_one}`"
        )
    if from_zero and list(unknown) == [count]:
        return (
            f"the masks hold 0 to {count} and the list has {count} classes: either 0 stands for none of them "
            f"(in dataset.yaml: `{from_one}` and `ignore: [0]`), or the list lacks a class: add it"
        )
    if list(unknown) == [255]:
        return "255 often stands for pixels to be ignored: if it does, write `ignore: [255]` in dataset.yaml"
    spread = [i * 255 // (count - 1) for i in range(count)] if count > 2 else []
    if from_zero and set(seen.tolist()) <= set(spread):
        told = ", ".join(f"{n}: {quoted(name)}" for n, name in list(zip(spread, names, strict=True))[:3])
        return (
            f"the values are spread evenly over 0..255, to be told apart by eye: say so in dataset.yaml: "
            f"`classes: {{{told}{', ...' if count > 3 else ''}}}`"
        )
    strange = np.count_nonzero(labels.index_of(seen) < 0)
    if strange > SOFT and highest > 255:
        return (
            f"{len(seen)} different values up to {highest}: numbers of single objects, or a picture "
            "that is no mask? Export masks of class numbers"
        )
    if strange > SOFT and (highest + 1 > 1.5 * len(seen) or len(seen) > 192):
        return (
            f"{len(seen)} different values: an antialiased, resized or colour-converted mask. Export "
            "the masks again from the labelling tool as PNG of class numbers, without smoothing"
        )
    return (
        "add the value to the classes or to the ignored values (dataset.yaml: classes, ignore), or correct "
        "the mask"
    )


def meanings(
    source: SourceClasses, labels: LabelSet, form: str, numbers: NDArray[np.int64]
) -> dict[str, str]:
    """What 0 and 255 mean, or what stands in their place, in words.

    Args:
        source: the classes as the masks have them.
        labels: those that are trained and scored.
        form: of the masks.
        numbers: int64 (65536,) pixels of each source number in all masks that could be read.
    """
    if form == "color":
        return {
            "black (0, 0, 0)": _of_color((0, 0, 0), source, labels, numbers),
            "white (255, 255, 255)": _of_color((255, 255, 255), source, labels, numbers),
        }
    if form == "index":
        return {str(number): _of_number(number, source, labels, numbers) for number in (0, 255)}
    said = {}
    if form == "per-class":
        said["0 in a file"] = "outside the class that the file is of; anything else is inside"
    else:
        what = {"coco": "category 0", "yolo": "class 0"}.get(form)
        if what is not None:
            said[what] = _of_number(0, source, labels, numbers)
    uncovered = source.uncovered
    where = "pixels that nothing covers"
    said[where] = "nobody has said" if uncovered is None else _of_number(uncovered, source, labels, numbers)
    return said


def _of_number(number: int, source: SourceClasses, labels: LabelSet, numbers: NDArray[np.int64]) -> str:
    pixels, total = int(numbers[number]), int(numbers.sum())
    held = f"{percent(pixels, total)} of the pixels" if pixels else "no mask holds it"
    name = source.names[source.numbers.index(number)] if number in source.numbers else None
    if number in labels.ignored:
        what = "ignored: without effect on loss and score"
        if name is not None:
            what = f"{name}, {what}"
        elif number == source.uncovered:
            held = f"{percent(pixels, total)} of the pixels" if pixels else "there are none"
    elif name is not None:
        counts_as = labels.names[labels.file_numbers.index(dict(labels.merged).get(number, number))]
        what = f"{name}, a class that counts" if counts_as == name else f"{name}, which counts as {counts_as}"
    else:
        what = "not in the class list"
    return f"{what} ({held})" if total else what


def _of_color(color: Color, source: SourceClasses, labels: LabelSet, numbers: NDArray[np.int64]) -> str:
    if color not in source.colors:
        return "the colour of no class"
    return _of_number(source.numbers[source.colors.index(color)], source, labels, numbers)


def percent(part: int, whole: int) -> str:
    """A share for people: ``12.3 %``, ``0.004 %``, ``0 %``."""
    if not part or not whole:
        return "0 %"
    share = 100 * part / whole
    return f"{share:.1f} %" if share >= 0.95 else f"{share:.2g} %" if share >= 0.0001 else "< 0.0001 %"
