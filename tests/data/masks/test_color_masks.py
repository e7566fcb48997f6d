"""Masks of colours. The truth is the label map that Pillow coloured and wrote."""

import pickle
import random
import struct

import numpy as np
import pytest
from camvid_labels import camvid_labels
from damage import damaged_bytes
from mask_forms_colors import CAMVID_COLORS, CAMVID_NAMES, write_class_dict, write_color, write_labelmap
from PIL import Image

from sceneparse.data.class_files import read_class_file
from sceneparse.data.classes import SourceClasses
from sceneparse.data.faults import DataError
from sceneparse.data.masks.color import ColorMask, ColorTable
from sceneparse.errors import InputError
from sceneparse.labels import ade20k

RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)
COLORS = {0: RED, 1: GREEN, 2: BLUE}
CLASSES = SourceClasses.numbered(["a", "b", "c"], colors=list(COLORS.values()))
TABLE = ColorTable.of(CLASSES)
LABELS = np.random.default_rng(5).integers(0, 3, (7, 9)).astype(np.uint8)


def read(path, table=TABLE):
    found = ColorMask(path, table).read((1, 1))
    assert found.flags.c_contiguous
    return found


def error(path, table=TABLE, kind="colors"):
    with pytest.raises(DataError) as caught:
        read(path, table)
    assert caught.value.where == path
    assert caught.value.fix
    assert caught.value.kind == kind
    return str(caught.value)


def saved(path, array, palette=None):
    image = Image.fromarray(array)
    if palette is not None:
        image.putpalette(np.array(palette, np.uint8).tobytes())
    image.save(path)
    return path


# ---------------------------------------------------------------- colours


@pytest.mark.parametrize(
    ("suffix", "alpha"), [(s, a) for s in ("png", "tif") for a in (None, 255, 128, 0)] + [("bmp", None)]
)
def test_colours_become_numbers(tmp_path, suffix, alpha):
    write_color(tmp_path / f"x.{suffix}", LABELS, COLORS, alpha=alpha)
    found = read(tmp_path / f"x.{suffix}")
    assert found.dtype == np.uint8
    assert (found == LABELS).all()


def test_numbers_are_those_of_the_classes_and_wide_where_they_must_be(tmp_path):
    classes = SourceClasses(names=("a", "b", "c"), numbers=(7, 300, 2), colors=tuple(COLORS.values()))
    write_color(tmp_path / "x.png", LABELS, COLORS)
    found = read(tmp_path / "x.png", ColorTable.of(classes))
    assert found.dtype == np.uint16
    assert (found == np.array([7, 300, 2])[LABELS]).all()


def test_masks_larger_than_a_block_and_with_runs_across_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr("sceneparse.data.masks.color._BLOCK", 64)
    labels = np.repeat(np.random.default_rng(0).integers(0, 3, 60), 17).astype(np.uint8).reshape(30, 34)
    write_color(tmp_path / "x.png", labels, COLORS)
    assert (read(tmp_path / "x.png") == labels).all()


def test_one_pixel_one_column_and_one_class(tmp_path):
    for labels in (LABELS[:1, :1], LABELS[:, :1], LABELS[:1], np.zeros((50, 40), np.uint8)):
        write_color(tmp_path / "x.png", labels, COLORS)
        assert (read(tmp_path / "x.png") == labels).all()


def test_many_colours_against_plain_numpy(tmp_path):
    rng = np.random.default_rng(1)
    codes = rng.choice(2**24, 500, replace=False)
    colors = {i: (int(c) >> 16, int(c) >> 8 & 255, int(c) & 255) for i, c in enumerate(codes)}
    labels = rng.integers(0, 500, (120, 90))
    write_color(tmp_path / "x.png", labels, colors)
    table = ColorTable.of(SourceClasses.numbered([str(i) for i in colors], colors=list(colors.values())))
    assert (read(tmp_path / "x.png", table) == labels).all()


def test_exif_rotation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    array = np.array(list(COLORS.values()), np.uint8)[LABELS]
    Image.fromarray(array).save(tmp_path / "x.png", exif=exif)
    assert (read(tmp_path / "x.png") == np.rot90(LABELS, -1)).all()


@pytest.mark.parametrize("write", [write_labelmap, write_class_dict])
def test_real_camvid_masks_come_back_byte_for_byte(tmp_path, write):
    masks, _ = camvid_labels(20)
    path = tmp_path / ("labelmap.txt" if write is write_labelmap else "class_dict.csv")
    write(path, CAMVID_NAMES, CAMVID_COLORS)
    table = ColorTable.of(read_class_file(path))
    for name, labels in masks.items():
        write_color(tmp_path / f"{name}.png", labels, dict(enumerate(CAMVID_COLORS)))
        assert read(tmp_path / f"{name}.png", table).tobytes() == labels.tobytes()


def test_a_table_is_shared_when_masks_travel_to_workers(tmp_path):
    masks = [ColorMask(tmp_path / f"{i}.png", TABLE) for i in range(1000)]
    data = pickle.dumps(masks)
    assert len(data) < 100_000
    back = pickle.loads(data)
    assert back[0].table is back[999].table
    write_color(back[3].path, LABELS, COLORS)
    assert (back[3].read((1, 1)) == LABELS).all()
    assert back[3].files == (tmp_path / "3.png",)


# ---------------------------------------------------------------- numbers among colours


def test_numbers_are_read_as_everywhere(tmp_path):
    """A palette file gives its indices, whatever its colours; so do grey files."""
    assert (read(saved(tmp_path / "grey.png", LABELS)) == LABELS).all()
    assert (read(saved(tmp_path / "own.png", LABELS, list(COLORS.values()))) == LABELS).all()
    strange = [(9, 9, 9), (1, 2, 3), (3, 2, 1)]
    assert (read(saved(tmp_path / "strange.png", LABELS, strange)) == LABELS).all()
    assert (read(saved(tmp_path / "deep.png", LABELS.astype(np.uint16))) == LABELS).all()
    rgb = np.repeat(LABELS[:, :, None], 3, axis=2)
    assert "(0, 0, 0)" in error(saved(tmp_path / "rgb.png", rgb))  # colours are exact


def test_real_camvid_index_masks_are_read_by_index_beside_colours(tmp_path):
    """Their number 0 is shown black, which is void's colour: by chance."""
    masks, _ = camvid_labels(20)
    table = ColorTable.of(SourceClasses.numbered(CAMVID_NAMES, colors=CAMVID_COLORS))
    for name, labels in masks.items():
        for palette in (None, CAMVID_COLORS):
            path = saved(tmp_path / f"{name}.png", labels, palette)
            assert read(path, table).tobytes() == labels.tobytes()


def test_a_palette_that_shows_other_classes_is_an_error(tmp_path):
    path = saved(tmp_path / "x.png", LABELS, [GREEN, RED, BLUE])
    text = error(path)
    assert "number 0 is shown in (0, 255, 0), the colour of b, whose number is 1" in text
    assert "1 is shown in (255, 0, 0), the colour of a" in text
    assert "2 is" not in text
    shifted = saved(tmp_path / "shifted.png", LABELS + 5, [BLACK] * 5 + list(COLORS.values()))
    assert "5 is shown in (255, 0, 0), the colour of a, whose number is 0" in error(shifted)
    only_blue = saved(tmp_path / "y.png", np.full((3, 3), 2, np.uint8), [GREEN, RED, BLUE])
    assert (read(only_blue) == 2).all()


def test_a_palette_that_pillow_made_of_colours_is_an_error(tmp_path):
    """Adaptive palettes number colours by their frequency."""
    labels = np.zeros((20, 20), np.uint8)
    labels[:12], labels[12:19] = 2, 1
    write_color(tmp_path / "rgb.png", labels, COLORS)
    Image.open(tmp_path / "rgb.png").convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "x.png")
    assert "contradict" in error(tmp_path / "x.png")


def test_black_and_white_in_one_channel(tmp_path):
    table = ColorTable.of(SourceClasses.numbered(["ground", "polyp"], colors=[BLACK, WHITE]))
    truth = LABELS == 1
    path = saved(tmp_path / "x.png", np.where(truth, 255, 0).astype(np.uint8))
    assert (read(path, table) == truth).all()
    assert (read(saved(tmp_path / "y.png", truth.astype(np.uint8)), table) == truth).all()  # numbers
    edges = SourceClasses.numbered(["ground", "polyp"], colors=[BLACK, WHITE]).ignoring([255])
    assert "number 255 is shown in (255, 255, 255), the colour of polyp" in error(path, ColorTable.of(edges))


def test_a_grey_that_can_be_a_number_or_a_colour_is_asked_about(tmp_path):
    """Number 0 is building, and black is background: a file of zeros means one or the other."""
    table = ColorTable.of(SourceClasses.numbered(["building", "background"], colors=[WHITE, BLACK]))
    mixed = saved(tmp_path / "x.png", np.array([[0, 255]], np.uint8))
    assert read(mixed, table).tolist() == [[1, 0]]
    text = error(saved(tmp_path / "y.png", np.zeros((3, 3), np.uint8)), table)
    assert "number 0 is shown in (0, 0, 0), the colour of background, whose number is 1" in text
    assert "number: 0, name: background" in text
    assert "number 0" in error(saved(tmp_path / "z.png", np.array([[False, True]])), table)  # one bit
    data = saved(tmp_path / "w.tif", np.zeros((3, 3), np.uint8)).read_bytes()
    tag = data.index(struct.pack("<HHI", 262, 3, 1))  # PhotometricInterpretation: 1 = black is zero
    (tmp_path / "w.tif").write_bytes(data[: tag + 8] + b"\0" + data[tag + 9 :])
    assert read(tmp_path / "w.tif", table).max() == 0  # zeros that are shown white, as buildings are
    said = SourceClasses(names=("building", "background"), numbers=(255, 0), colors=(WHITE, BLACK))
    assert read(mixed, ColorTable.of(said)).tolist() == [[0, 255]]


def test_ade20k_masks_beside_their_palette(tmp_path):
    """Two classes have one colour there; masks of numbers do not care, and the ignored 0 is black."""
    table = ColorTable.of(SourceClasses.of(ade20k()))
    labels = np.random.default_rng(3).integers(0, 151, (40, 40)).astype(np.uint8)
    assert (read(saved(tmp_path / "x.png", labels), table) == labels).all()
    twice = next(color for color in ade20k().palette if ade20k().palette.count(color) == 2)
    names = [name for name, color in zip(ade20k().names, ade20k().palette, strict=True) if color == twice]
    text = error(saved(tmp_path / "rgb.png", np.full((2, 2, 3), twice, np.uint8)), table)
    assert f"{twice}: 4 pixels, the colour of both {' and '.join(names)}" in text


# ---------------------------------------------------------------- errors


def test_unknown_colours_are_named_with_pixels_and_nearest_class(tmp_path):
    labels = np.zeros((4, 5), np.uint8)
    write_color(tmp_path / "x.png", labels, COLORS)
    pixels = np.array(Image.open(tmp_path / "x.png"))
    pixels[0, :3] = (0, 254, 1)
    pixels[2, 2] = (255, 3, 0)
    with pytest.raises(DataError) as caught:
        read(saved(tmp_path / "x.png", pixels))
    assert "(0, 254, 1): 3 pixels, nearest is b (0, 255, 0); (255, 3, 0): 1 pixels, nearest is a" in str(
        caught.value
    )
    assert "add the colour to the class list" in caught.value.fix
    assert caught.value.values == (("(0, 254, 1)", 3), ("(255, 3, 0)", 1))


def test_many_unknown_colours_are_counted(tmp_path, monkeypatch):
    gradient = np.stack([np.arange(100, dtype=np.uint8)] * 3, axis=1)[None].repeat(3, axis=0)
    text = error(saved(tmp_path / "x.png", gradient))
    assert "and 92 more colours" in text
    assert text.count("3 pixels") == 8
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    noise[:50, :40] = noise[-2:] = (7, 7, 7)
    monkeypatch.setattr(
        "sceneparse.data.masks.color._BLOCK", 8000
    )  # the end is never counted but for colours
    text = error(saved(tmp_path / "x.png", noise))  # that are named
    assert "(7, 7, 7): 2600 pixels" in text
    assert "more colours" in text
    assert "over" in text


def test_soft_edges_and_jpeg_rests(tmp_path):
    labels = np.zeros((60, 60), np.uint8)
    labels[20:40, 10:50] = 1
    write_color(tmp_path / "hard.png", labels, COLORS)
    soft = Image.open(tmp_path / "hard.png").resize((45, 45), Image.Resampling.BILINEAR)
    soft.save(tmp_path / "soft.png")
    assert "antialiased" in error(tmp_path / "soft.png")
    soft.save(tmp_path / "x.jpg")
    assert "does not keep values" in error(tmp_path / "x.jpg", kind="lossy")
    Image.open(tmp_path / "x.jpg").save(tmp_path / "was.png")
    assert "lossy" in error(tmp_path / "was.png")


def test_exchanged_red_and_blue(tmp_path):
    """cv2.imwrite takes BGR."""
    colors = {0: (200, 100, 0), 1: (60, 40, 222)}
    table = ColorTable.of(SourceClasses.numbered(["a", "b"], colors=list(colors.values())))
    write_color(tmp_path / "x.png", LABELS % 2, {n: c[::-1] for n, c in colors.items()})
    assert "red and blue are exchanged" in error(tmp_path / "x.png", table)


def test_classes_without_colours():
    with pytest.raises(InputError, match="no colour is given for: b, c"):
        ColorTable.of(SourceClasses.numbered(["a", "b", "c"], colors=[RED, None, None]))
    ignored = SourceClasses(names=("a", "void"), numbers=(0, 9), colors=(RED, None), ignored=(9,))
    assert ColorTable.of(ignored).names == ("a",)


def test_colours_that_are_all_shared(tmp_path):
    table = ColorTable.of(SourceClasses.numbered(["a", "b"], colors=[RED, RED]))
    write_color(tmp_path / "x.png", LABELS * 0, COLORS)
    text = error(tmp_path / "x.png", table)
    assert "the colour of both a and b" in text
    assert "a colour of its own" in text
    assert (read(saved(tmp_path / "y.png", LABELS % 2), table) == LABELS % 2).all()


def test_a_missing_file_a_folder_and_sixteen_bits(tmp_path):
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(InputError):
            read(path)
    with pytest.raises(InputError, match="mode F"):
        read(saved(tmp_path / "f.tif", np.zeros((2, 2), np.float32)))


def test_damaged_masks_are_read_or_named(tmp_path):
    """Nothing but an InputError comes of 300 damaged files of four kinds."""
    write_color(tmp_path / "a.png", LABELS, COLORS)
    write_color(tmp_path / "b.png", LABELS, COLORS, alpha=255)
    saved(tmp_path / "c.png", LABELS, list(COLORS.values()))
    saved(tmp_path / "d.tif", np.array(list(COLORS.values()), np.uint8)[LABELS])
    good = [(path.read_bytes(), path.suffix) for path in sorted(tmp_path.iterdir())]
    rng = random.Random(11)
    refused = 0
    for i in range(300):
        data, suffix = good[i % 4]
        path = tmp_path / f"damaged {i}{suffix}"
        path.write_bytes(damaged_bytes(data, rng))
        try:
            assert read(path).ndim == 2
        except InputError as problem:
            refused += str(path) in str(problem)
    assert refused > 100
