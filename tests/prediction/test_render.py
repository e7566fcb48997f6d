"""Pictures: right colours at right places, any size, every class in the legend accounted for."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sceneparse.data.decode import read_image, read_mask
from sceneparse.errors import InputError
from sceneparse.labels import ade20k, camvid, label_set_from_names
from sceneparse.prediction.legend import draw_legend, hatch, legend_entries, number_counts
from sceneparse.prediction.render import (
    TILE_SIDE,
    Triple,
    blend,
    colourise,
    contours,
    error_map,
    overlay,
    panel,
    sheet,
)

CAMVID = Path(__file__).parents[3] / "shared/data/camvid"
RNG = np.random.default_rng(0)


def picture(height, width):
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_colours_are_the_palette_and_ignored_is_grey_hatching():
    labels = np.tile(np.uint8([0, 3, 11, 200]), (16, 4))
    colours = colourise(labels, camvid())
    assert (colours[labels == 3] == camvid().palette[3]).all()
    nowhere = (labels == 11) | (labels == 200)
    assert (colours[nowhere] == hatch(16, 16)[nowhere]).all()
    assert len(np.unique(colours[nowhere], axis=0)) == 2


def test_counts_of_numbers_equal_numpy():
    labels = RNG.integers(0, 65536, (300, 50)).astype(np.uint16)
    values, counts = np.unique(labels, return_counts=True)
    found = number_counts(labels)
    assert (found[values] == counts).all()
    assert found.sum() == labels.size


def test_contours_by_hand():
    labels = np.array([[1, 1, 2], [1, 1, 2], [3, 3, 3]])
    assert contours(labels).astype(int).tolist() == [[0, 1, 0], [1, 1, 1], [0, 0, 0]]
    assert not contours(np.zeros((1, 1), np.uint8)).any()


def test_blend_is_the_weighted_mean_away_from_contours():
    image, labels = picture(6, 9), np.full((6, 9), 4, np.uint8)
    expected = 0.75 * image + 0.25 * np.array(camvid().palette[4])
    assert np.abs(blend(image, labels, camvid(), alpha=0.25) - expected).max() <= 0.51  # rounding to uint8
    assert (blend(image, labels, camvid(), alpha=0) == image).all()
    with pytest.raises(InputError, match=r"alpha 1\.5"):
        blend(image, labels, camvid(), alpha=1.5)
    with pytest.raises(InputError, match="9x6 pixels with labels of 6x9"):
        blend(image, labels.T, camvid())


def test_errors_are_red_only_where_a_scored_pixel_is_wrong():
    label = np.uint8([[3, 3, 11, 0]])
    prediction = np.uint8([[3, 4, 4, 0]])
    for image in (None, picture(1, 4)):
        drawn = error_map(label, prediction, camvid(), image).astype(int)
        reds = drawn[..., 0] - drawn[..., 1]
        assert (reds > 90).tolist() == [[False, True, False, False]]
        assert (drawn[0, 2] == hatch(1, 4)[0, 2]).all()


def test_legend_names_the_largest_and_sums_up_the_rest():
    labels = np.repeat(np.arange(0, 21, dtype=np.uint8), np.arange(10, 31)).reshape(1, -1)  # 0 is ignored
    entries = legend_entries([labels], ade20k(), limit=3)
    total = labels.size
    assert [entry.name for entry in entries] == [
        *(ade20k().names[i] for i in (19, 18, 17)),
        "17 more",
        "ignored",
    ]
    assert entries[0].share == f"{100 * 30 / total:.1f} %"
    assert entries[3].share == f"{100 * sum(range(11, 28)) / total:.1f} %"
    assert entries[4].share == f"{100 * 10 / total:.1f} %"


def test_legend_of_two_groups_shows_both_shares():
    labels, prediction = np.uint8([[0, 0, 0, 11]]), np.uint8([[0, 0, 1, 1]])
    entries = legend_entries([labels], camvid(), others=[prediction])
    assert [(e.name, e.share) for e in entries] == [
        ("sky", "75.0 / 50.0 %"), ("building", "0 / 50.0 %"), ("ignored", "25.0 / 0 %"),
    ]  # fmt: skip
    tiny = np.zeros((100, 100), np.uint8)
    tiny[0, 0] = 1
    assert legend_entries([tiny], camvid())[1].share == "<0.1 %"


def test_legend_shows_each_colour_and_keeps_its_width():
    entries = legend_entries([np.uint8([[0, 3, 4, 11]])], camvid())
    drawn = np.asarray(draw_legend(entries, 14, width=500))
    assert drawn.shape[1] == 500
    for number in (0, 3, 4):
        assert (drawn == camvid().palette[number]).all(-1).sum() > 100
    long = label_set_from_names(["a very long class name " * 9, "Fußgängerüberweg"])
    assert draw_legend(legend_entries([np.uint8([[0, 1]])], long), 14, width=320).width == 320


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (37, 1001), (1001, 37), (2, 3), (300, 400)])
def test_any_size_can_be_drawn(size):
    labels = RNG.integers(0, 151, size).astype(np.uint8)
    drawn = overlay(picture(*size), labels, ade20k())
    assert drawn.mode == "RGB"
    assert max(drawn.size) >= 320
    assert drawn.width <= 1920
    tall = panel(picture(*size), labels, labels, ade20k(), name="x", errors=True)
    assert tall.width >= 4 * 160


def test_large_pictures_are_shrunk_and_small_ones_enlarged_by_whole_pixels():
    half = np.repeat(np.uint8([[3, 4]]), 1000, axis=1).repeat(1500, axis=0)
    assert overlay(np.zeros((*half.shape, 3), np.uint8), half, camvid()).width == 1600
    small = overlay(np.zeros((2, 2, 3), np.uint8), np.uint8([[3, 4], [3, 4]]), camvid(), alpha=1)
    assert small.width == 320
    assert small.getpixel((4, 300)) == camvid().palette[3]
    assert small.getpixel((315, 4)) == camvid().palette[4]


def test_upright_pictures_have_the_legend_at_their_side():
    drawn = overlay(picture(800, 200), np.full((800, 200), 3, np.uint8), camvid())
    assert drawn.height == 800
    assert drawn.width > 200


def test_large_regions_carry_their_name_and_small_ones_do_not():
    labels = np.full((400, 400), 3, np.uint8)
    labels[:6, :6] = 4
    image = np.zeros((400, 400, 3), np.uint8)
    drawn = np.asarray(overlay(image, labels, camvid(), alpha=1))[:400]
    letters = drawn.min(-1) > 180  # the name is written in white
    ys, xs = np.nonzero(letters[10:, 10:])  # without the contour of the small region
    assert ys.size > 30
    assert abs(ys.mean() - 190) < 20
    assert abs(xs.mean() - 190) < 20


def test_panel_shows_image_label_and_prediction_in_this_order():
    image = np.full((360, 480, 3), (10, 200, 30), np.uint8)
    label, prediction = np.full((360, 480), 3, np.uint8), np.full((360, 480), 4, np.uint8)
    drawn = np.asarray(panel(image, label, prediction, camvid(), name="x"))
    row = drawn[150]
    places = [
        np.flatnonzero((row == colour).all(-1))
        for colour in ((10, 200, 30), camvid().palette[3], camvid().palette[4])
    ]
    assert [len(place) for place in places] == [TILE_SIDE] * 3
    assert places[0].max() < places[1].min() < places[1].max() < places[2].min()


def test_panel_without_label_has_two_pictures():
    image, prediction = picture(360, 480), np.full((360, 480), 4, np.uint8)
    assert panel(image, None, prediction, camvid()).width < 2.1 * TILE_SIDE


def test_sheet_takes_rows_of_any_size_and_refuses_parts_that_do_not_fit():
    rows = [
        Triple(
            image=picture(h, w),
            label=np.zeros((h, w), np.uint8),
            prediction=np.zeros((h, w), np.uint8),
            name="ü",
        )
        for h, w in ((30, 40), (700, 200), (1, 1))
    ]
    rows.append(Triple(image=picture(40, 40), label=None, prediction=np.zeros((40, 40), np.uint8)))
    drawn = sheet(rows, camvid(), title="step 100", errors=True)
    assert drawn.height > TILE_SIDE
    with pytest.raises(InputError, match="at least one row"):
        sheet([], camvid())
    with pytest.raises(InputError, match="5x4 pixels with labels of 4x5"):
        panel(picture(4, 5), None, np.zeros((5, 4), np.uint8), camvid())


def test_all_pixels_ignored_is_drawn_and_said():
    void = np.full((40, 60), 11, np.uint8)
    assert panel(picture(40, 60), void, np.zeros((40, 60), np.uint8), camvid()).width > 400
    assert isinstance(overlay(picture(40, 60), void, camvid()), Image.Image)


@pytest.mark.skipif(not CAMVID.is_dir(), reason="CamVid is not beside the repository")
def test_a_real_label_is_shown_without_any_mixed_colour():
    path = sorted((CAMVID / "val").glob("*.png"))[0]
    label = read_mask(CAMVID / "valannot" / path.name)
    drawn = np.asarray(panel(read_image(path), label, label, camvid(), name=path.stem))
    column = 10 + TILE_SIDE + 10
    tile = drawn[46 : 46 + 360, column : column + 480]
    assert (tile == colourise(label, camvid())).all()
