"""The classes the built-in scenes are made of, by their ADE20K file number."""

from __future__ import annotations

from sceneparse.labels import LabelSet, ade20k

UNLABELLED = 0
WALL = 1
BUILDING = 2
SKY = 3
FLOOR = 4
TREE = 5
CEILING = 6
ROAD = 7
BED = 8
WINDOWPANE = 9
GRASS = 10
CABINET = 11
SIDEWALK = 12
PERSON = 13
DOOR = 15
MOUNTAIN = 17
CURTAIN = 19
CAR = 21
PAINTING = 23
SOFA = 24
SEA = 27

NUMBERS = (
    WALL, BUILDING, SKY, FLOOR, TREE, CEILING, ROAD, BED, WINDOWPANE, GRASS, CABINET, SIDEWALK, PERSON, DOOR,
    MOUNTAIN, CURTAIN, CAR, PAINTING, SOFA, SEA,
)  # fmt: skip


def scenes_label_set() -> LabelSet:
    """The classes drawn, with ADE20K's names, file numbers and colours; 0 (unlabelled) is ignored."""
    full = ade20k()
    rows = [full.file_numbers.index(number) for number in NUMBERS]
    return LabelSet(
        names=tuple(full.names[r] for r in rows),
        file_numbers=NUMBERS,
        palette=tuple(full.palette[r] for r in rows),
        ignored=(UNLABELLED,),
    )
