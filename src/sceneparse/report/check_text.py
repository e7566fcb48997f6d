"""What ``sceneparse check`` prints: what the data is, its classes, what is wrong, and what to do next.

Sentences are wrapped to the width of the terminal; lines with paths never are, so that they can be copied.
"""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sceneparse.data.check import Checked
from sceneparse.data.faults import MOST_NAMED, WHY, Fault, title
from sceneparse.data.layouts import LAYOUTS
from sceneparse.data.tally import NO_PIXELS
from sceneparse.data.values import MOST_SPELT, counted_pixels, percent

if TYPE_CHECKING:
    from sceneparse.data.propose import Proposal

FORM_WORDS = {
    "index": "pictures whose pixels are class numbers",
    "color": "pictures of class colours, or of class numbers where they have one channel",
    "per-class": "a picture for each class or region",
    "coco": "COCO documents of polygons and run lengths",
    "labelme": "LabelMe documents, one for each picture",
    "yolo": "YOLO texts of polygons, one for each picture",
}
"""Forms of masks, in words."""

MOST_FIXES = 5
"""How many different things to do are told for one kind of fault."""

_BOLD, _RED, _YELLOW, _GREEN = "\033[1m", "\033[1;31m", "\033[1;33m", "\033[1;32m"
_PLAIN = "\033[0m"
_SAID_BY_TITLE = ("missing-mask", "missing-image", "all-ignored", "duplicate", "same-stem")
_SAID_IN_YAML = ("values", "colors", "binary", "uncovered")
_NAME = 8
"""Fewest letters that a class's name is shortened to."""


def check_text(checked: Checked, *, data: str, width: int = 100, styled: bool = False) -> str:
    """The page.

    Args:
        checked: what was found.
        data: the data set as it was typed, for the commands that come next.
        width: of the terminal, characters.
        styled: whether the terminal shows bold letters and colours.
    """
    page = _Page(max(width, 30), styled)
    _head(page, checked)
    if any(tally.images for tally in checked.tallies.values()):
        _class_table(page, checked)
    for faults in (checked.stops, checked.warnings):
        for kind in dict.fromkeys(fault.kind for fault in faults):
            _group(page, [fault for fault in faults if fault.kind == kind])
    _verdict(page, checked, shlex.quote(data))
    return "\n".join(page.lines) + "\n"


def proposal_text(proposal: Proposal, *, data: str, width: int = 100) -> str:
    """What is printed once a proposal has been written.

    Args:
        proposal: the files.
        data: what to give to ``sceneparse check`` next.
        width: of the terminal, characters.
    """
    page = _Page(max(width, 30), styled=False)
    for path in (proposal.path, *proposal.lists):
        page.line(f"wrote {path}")
    if proposal.look_at:
        page.line()
        page.line("Look at:")
        for sentence in proposal.look_at:
            page.words(sentence, "  - ", "    ")
    page.line()
    page.line("Then:")
    page.line(f"  sceneparse check {shlex.quote(data)}")
    return "\n".join(page.lines) + "\n"


class _Page:
    def __init__(self, width: int, styled: bool) -> None:
        self.width = width
        self.styled = styled
        self.lines: list[str] = []

    def line(self, text: str = "", style: str = "") -> None:
        """A line as it is, however long."""
        self.lines.append(f"{style}{text}{_PLAIN}" if style and self.styled else text)

    def words(self, text: str, first: str = "", rest: str = "", style: str = "") -> None:
        """A paragraph, wrapped between words; ``first`` and ``rest`` begin its lines."""
        wrapped = textwrap.wrap(
            text.replace(" %", "\0%"),
            max(self.width, len(rest) + 24),
            initial_indent=first,
            subsequent_indent=rest,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in wrapped or [first]:
            self.line(line.replace("\0", " "), style)

    def row(self, what: str, text: str) -> None:
        """A line of the head."""
        self.words(text, f"  {what:8}  ", " " * 12)


def _head(page: _Page, checked: Checked) -> None:
    dataset = checked.dataset
    page.line(dataset.name, _BOLD)
    page.line(f"  {'where':8}  {dataset.root}")
    page.row("layout", _layout(checked))
    page.row("masks", FORM_WORDS[dataset.form])
    pairs = ", ".join(f"{split} {len(dataset.splits[split])}" for split in checked.tallies)
    page.row("pairs", pairs)
    page.row("images", _sizes(checked))
    meanings = checked.meanings
    page.line()
    for what, meaning in meanings.items():
        page.words(f"{what}: {meaning}", "  ", "    ")
    seen = np.flatnonzero(sum(checked.numbers.values(), np.zeros(1, np.int64)))
    if dataset.form == "index" and (dataset.labels.index_of(seen) < 0).any():
        page.words(f"The masks hold: {_seen(checked)}", "  ", "    ")


def _layout(checked: Checked) -> str:
    layout = checked.dataset.layout
    if layout in LAYOUTS:
        return LAYOUTS[layout].title
    return "YOLO, as its data.yaml says" if layout == "yolo" else "as its dataset.yaml says"


def _sizes(checked: Checked) -> str:
    sizes: set[tuple[int, int]] = set().union(*checked.sizes.values())
    if not sizes:
        return "none that can be read"
    ordered = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    (height, width), (most_height, most_width) = ordered[0], ordered[-1]
    if len(ordered) == 1:
        return f"{width} x {height} pixels (width x height), all of them"
    return f"{width} x {height} to {most_width} x {most_height} pixels (width x height), {len(ordered)} sizes"


def _seen(checked: Checked) -> str:
    """The numbers in the masks with their shares, most pixels first."""
    labels = checked.dataset.labels
    numbers = sum(checked.numbers.values(), np.zeros(1, np.int64))
    order = np.argsort(-numbers, kind="stable")[: 2 * MOST_SPELT]
    total, held = int(numbers.sum()), int(np.count_nonzero(numbers))
    told = [
        f"{number} ({percent(int(numbers[number]), total)}{'' if known else ', no class'})"
        for number, known in zip(order.tolist(), (labels.index_of(order) >= 0).tolist(), strict=True)
        if numbers[number]
    ]
    return ", ".join(told) + (f" and {held - len(told)} more values" if held > len(told) else "")


def _class_table(page: _Page, checked: Checked) -> None:
    labels, splits = checked.dataset.labels, list(checked.tallies)
    heads = [f"{split} {what}" for what in ("pixels", "images") for split in splits]
    rows = [
        [str(number), name, *_cells(checked, i)]
        for i, (number, name) in enumerate(zip(labels.file_numbers, labels.names, strict=True))
    ]
    shares = [_share(int(tally.pixels[-1]), int(tally.pixels.sum())) for tally in checked.tallies.values()]
    rows.append(["", "ignored", *shares, *[""] * len(splits)])
    totals = [f"{int(tally.pixels.sum()):,}" for tally in checked.tallies.values()]
    images = [f"{len(tally.images):,}" for tally in checked.tallies.values()]
    rows.append(["", "all", *totals, *images])
    widths = [max(len(head), *(len(row[i]) for row in rows)) for i, head in enumerate(["number", "", *heads])]
    spare = page.width - (sum(widths) - widths[1] + 2 * (len(widths) + 0))
    widths[1] = max(min(widths[1], spare), min(widths[1], _NAME))
    page.line()
    page.line(_table_line(["number", "class", *heads], widths), _BOLD)
    for row in rows:
        page.line(_table_line(row, widths))
    bad = {split: len(tally.bad) for split, tally in checked.tallies.items()}
    if any(bad.values()):
        told = ", ".join(f"{split} {number}" for split, number in bad.items() if number)
        page.words(f"Counted without the pairs that have errors: {told}.", "  ", "  ")


def _cells(checked: Checked, i: int) -> Iterator[str]:
    """Shares of pixels, then numbers of images, for each split."""
    for tally in checked.tallies.values():
        yield _share(int(tally.pixels[i]), int(tally.pixels.sum()))
    for tally in checked.tallies.values():
        yield f"{int(tally.containing[i]):,}"


def _share(part: int, whole: int) -> str:
    """A share in a column of shares."""
    if not part:
        return "0 %"
    share = 100 * part / whole
    return f"{share:.2f} %" if share >= 0.005 else "< 0.01 %"


def _table_line(cells: Sequence[str], widths: Sequence[int]) -> str:
    name = cells[1] if len(cells[1]) <= widths[1] else cells[1][: widths[1] - 1] + "…"
    rest = "".join(f"  {cell:>{width}}" for cell, width in zip(cells[2:], widths[2:], strict=True))
    return f"  {cells[0]:>{widths[0]}}  {name:<{widths[1]}}{rest}".rstrip()


def _group(page: _Page, faults: Sequence[Fault]) -> None:
    """All faults of one kind: what and why once, then what to do, and the files."""
    first = faults[0]
    page.line()
    page.words(
        f"{'ERROR' if first.stops else 'warning'}: {title(first.kind)}: {len(faults):,}",
        rest="  ",
        style=_RED if first.stops else _YELLOW,
    )
    page.words(WHY[first.kind], "  ", "  ")
    by_fix: dict[str, list[Fault]] = {}
    for fault in faults:
        by_fix.setdefault(fault.fix, []).append(fault)
    left = MOST_NAMED
    for fix, those in sorted(by_fix.items(), key=lambda entry: -len(entry[1]))[:MOST_FIXES]:
        if not left:
            break
        page.words(f"fix: {fix}", "  ", "       ")
        if first.kind == "no-pixels":  # a name each, and often many
            page.words(", ".join(fault.what.removesuffix(NO_PIXELS) for fault in those), "    ", "    ")
            return
        _files(page, those[:left])
        left -= len(those[:left])
    more = len(faults) - (MOST_NAMED - left)
    if more:
        page.line(f"    and {more:,} more: --json FILE lists them all")


def _files(page: _Page, faults: Sequence[Fault]) -> None:
    before = ""
    for fault in faults:
        where = " and ".join(map(str, fault.files[: 2 if fault.kind in ("duplicate", "same-stem") else 1]))
        if where and where != before:
            page.line(f"    {where}")
        before = where
        detail = _detail(fault)
        if detail:
            page.words(detail, *("      ", "      ") if where else ("    ", "      "))


def _detail(fault: Fault) -> str:
    """What is to be said of one file beside the title of its group."""
    if fault.kind in ("values", "binary") and fault.values:
        told = [f"{value} ({counted_pixels(pixels)})" for value, pixels in fault.values[:MOST_SPELT]]
        more = len(fault.values) - len(told)
        return ", ".join(told) + (f" and {more} more values" if more > 0 else "")
    if fault.kind == "empty-file":
        return ""
    if fault.kind == "uncovered":
        return fault.what.partition(": are they")[0]
    if fault.kind in _SAID_BY_TITLE and fault.files and fault.files[0].name in fault.what:
        return ""
    return fault.what.removeprefix(f"{title(fault.kind)}: ")


def _verdict(page: _Page, checked: Checked, data: str) -> None:
    page.line()
    splits, stops = checked.dataset.splits, checked.stops
    pairs = sum(len(tally.images) for tally in checked.tallies.values())
    took = f"looked at in {checked.seconds:.1f} s"
    name = checked.dataset.name or "NAME"
    if not stops:
        doubts = f", {_counted(len(checked.warnings), 'warning')}" if checked.warnings else ""
        page.words(
            f"Sound: {_counted(pairs, 'pair')}, nothing stops a training{doubts} ({took}).", style=_GREEN
        )
        missing = [split for split in ("train", "val") if split not in splits]
        if missing:
            page.words(f"A training also needs {' and '.join(missing)}: the data set does not have it.")
        else:
            page.words("Next:")
            page.line(f"  sceneparse train {data} --out {shlex.quote(f'runs/{name}')}")
        return
    files = {path for fault in stops for path in fault.files[:1]}
    found = f"{_counted(len(stops), 'error')} in {_counted(len(files), 'file')} stop a training ({took})."
    other = "; or train without these files:" if _can_skip(checked) else "."
    page.words(f"{found} Do what the fixes say, then check again{other}", style=_RED)
    if _can_skip(checked):
        page.line(f"  sceneparse train {data} --out {shlex.quote(f'runs/{name}')} --skip-bad")
    if checked.dataset.layout != "yaml" and any(fault.kind in _SAID_IN_YAML for fault in stops):
        page.words("A dataset.yaml, in which it can be said what values mean, is proposed by:")
        page.line(f"  sceneparse check {data} --write-yaml")


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _can_skip(checked: Checked) -> bool:
    """Whether there is something to train and validate on besides the bad files."""
    return all(checked.tallies.get(split) and checked.tallies[split].images for split in ("train", "val"))
