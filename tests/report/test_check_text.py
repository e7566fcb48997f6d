"""The page that ``sceneparse check`` prints."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from sceneparse.data.check import Checked
from sceneparse.data.classes import SourceClasses
from sceneparse.data.dataset import Dataset
from sceneparse.data.faults import Fault
from sceneparse.data.tally import Tally
from sceneparse.report.check_text import check_text

NUMBERS = np.zeros(65536, np.int64)


def found(
    faults: tuple[Fault, ...] = (),
    *,
    names: tuple[str, ...] = ("sky", "road"),
    splits: tuple[str, ...] = ("train", "val"),
    sound: int = 3,
) -> Checked:
    """A data set of ``sound`` pairs a split, in which a third of the pixels is sky and the rest road."""
    source = SourceClasses.numbered(names)
    tallies = {split: Tally.empty(len(names)) for split in splits}
    for split, tally in tallies.items():
        tally.pixels[:2] = 1000 * sound, 2000 * sound
        tally.containing[:2] = sound, sound - 1
        tally.images = [(str(i), Path(f"{split}/{i}.png")) for i in range(sound)]
        tally.bad = [fault.stem or "" for fault in faults if fault.stops and fault.split == split]
    dataset = Dataset(
        root=Path("some/data"),
        name="data",
        layout="plain",
        form="index",
        labels=source.label_set(),
        source=source,
        splits=dict.fromkeys(splits, ()),
        faults=(),
        class_weights=(1.0,) * len(names),
    )
    numbers = NUMBERS.copy()
    numbers[:2] = 1000, 2000
    return Checked(
        dataset=dataset,
        tallies=tallies,
        numbers=dict.fromkeys(splits, numbers),
        sizes={split: Counter({(360, 480): sound}) for split in splits},
        faults=faults,
        seconds=1.25,
    )


def values_fault(i: int, *, fix: str = "number it again", value: int = 7) -> Fault:
    return Fault(
        kind="values",
        what=f"mask values outside the class list: {value} (3 pixels); nothing ignored; 0 sky, 1 road",
        fix=fix,
        files=(Path(f"/a long path/with spaces in it/that no terminal is wide enough for/mask {i:05d}.png"),),
        split="train",
        stem=str(i),
        values=((value, 3),),
    )


def test_sound_data():
    said = check_text(found(), data="some/data")
    assert "480 x 360 pixels (width x height), all of them" in said
    rows = [line.split() for line in said.splitlines()]
    assert ["0", "sky", "33.33", "%", "33.33", "%", "3", "3"] in rows
    assert ["1", "road", "66.67", "%", "66.67", "%", "2", "2"] in rows
    assert ["all", "9,000", "9,000", "3", "3"] in rows
    assert said.splitlines()[-1] == "  sceneparse train some/data --out runs/data"
    assert "ERROR" not in said
    assert "\033" not in said


def test_next_command_can_be_typed():
    said = check_text(found(), data="my data/it's")
    assert """sceneparse train 'my data/it'"'"'s' --out""" in said


def test_colours_only_where_they_are_shown():
    said = check_text(found((values_fault(1),)), data="d", styled=True)
    assert "\033[1;31mERROR" in said
    plain = check_text(found((values_fault(1),)), data="d")
    assert "\033" not in plain


def test_one_fault_everywhere_is_one_group():
    said = check_text(found(tuple(values_fault(i) for i in range(10_000))), data="d")
    assert said.count("ERROR") == 1
    assert "mask values outside the class list: 10,000" in said
    assert said.count("number it again") == 1
    assert said.count("mask 0") == 20
    assert "and 9,980 more: --json FILE lists them all" in said
    assert "10,000 errors in 10,000 files" in said
    assert len(said.splitlines()) < 90


def test_different_fixes_stand_apart_the_commonest_first():
    faults = [values_fault(i, fix="rare fix") for i in range(2)]
    faults += [values_fault(i, fix="common fix", value=8) for i in range(2, 30)]
    said = check_text(found(tuple(faults)), data="d")
    assert said.index("common fix") < said.index("8 (3 pixels)")
    assert "and 10 more" in said
    few = check_text(found(tuple(faults[:5])), data="d")
    assert few.index("common fix") < few.index("rare fix")
    assert "more" not in few.partition("ERROR")[2].partition("errors in")[0]


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_paths_are_whole_and_sentences_fit(width):
    faults = tuple(values_fault(i, fix="correct it " * 30) for i in range(3))
    said = check_text(
        found(faults, names=("sky", "a road with a very long name indeed")), data="d", width=width
    )
    for fault in faults:
        assert f"    {fault.files[0]}\n" in said
    for line in said.splitlines():
        if "correct it" in line or "sky" in line:
            assert len(line) <= max(width, 72)
    if width == 200:
        assert "a road with a very long name indeed" in said
    if width == 80:
        assert "…" in said


def test_numbers_of_no_class_are_shown():
    checked = found((values_fault(1),))
    for numbers in checked.numbers.values():
        numbers[7] = 3
    said = check_text(checked, data="d")
    assert "The masks hold: 1 (" in said
    assert "7 (0.1 %, no class)" in said
    assert "The masks hold" not in check_text(found(), data="d")


def test_classes_without_pixels_are_one_line():
    faults = tuple(
        Fault(
            kind="no-pixels", what=f"class {i} ({i}) has no pixel in any split", fix="fine if you expect it"
        )
        for i in range(30)
    )
    said = check_text(found(faults), data="d", width=2000)
    assert "class 0 (0), class 1 (1), class 2 (2)" in said
    assert "class 29 (29)" in said
    assert "warning: class without a pixel: 30" in said
    assert "30 warnings" in said


def test_next_step_depends_on_what_is_there():
    assert "--skip-bad" in check_text(found((values_fault(1),)), data="d")
    assert "--write-yaml" in check_text(found((values_fault(1),)), data="d")
    nothing = check_text(found((values_fault(1),), sound=0), data="d")
    assert "--skip-bad" not in nothing
    assert "train pixels" not in nothing, "no table of nothing"
    alone = check_text(found(splits=("val",)), data="d")
    assert "also needs train" in alone
    assert "sceneparse train" not in alone


def test_nothing_heavy_is_imported():
    """``sceneparse check`` starts as fast as numpy and Pillow do."""
    code = (
        "import sys; import sceneparse.report.check_text, sceneparse.report.check_sheet, "
        "sceneparse.data.check, sceneparse.data.propose, sceneparse.cli; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"torch", "scipy", "matplotlib", "lightning", "timm", "rich", "pandas"}


def test_a_shared_document_is_named_once():
    faults = tuple(
        Fault(
            kind="values",
            what=f"{i}.jpg: annotation 7 is of category 9",
            fix="f",
            files=(Path("/x/coco.json"),),
        )
        for i in range(5)
    )
    said = check_text(found(faults), data="d")
    assert said.count("/x/coco.json") == 1
    assert said.count("is of category 9") == 5


def test_paths_in_sentences_are_whole():
    long = "/folders" * 20
    said = check_text(
        found((values_fault(1, fix=f"correct the line in {long}/x-y.txt, or not"),)), data="d", width=60
    )
    assert f"{long}/x-y.txt," in said
