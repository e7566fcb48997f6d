"""Files of every mode to pixels. The references are numpy arrays that the files were made from, Pillow's own
``exif_transpose``, and formulas written out by hand."""

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from sceneparse.data.decode import (
    SPARE,
    image_size,
    read_image,
    read_mask,
    read_picture,
    upright_rgb,
)
from sceneparse.data.image_file import MAX_PIXELS
from sceneparse.data.preprocess import ResizePolicy, prepare_picture, resize_image
from sceneparse.errors import InputError

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"

RNG = np.random.default_rng(7)
RGB = RNG.integers(0, 256, (5, 8, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (5, 8), dtype=np.uint8)
DEEP = np.array([[0, 1, 128, 129, 257], [385, 386, 32896, 65534, 65535]], np.uint16)


def saved(path, array, mode=None, **options):
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def assert_rgb(array, height, width):
    assert array.shape == (height, width, 3)
    assert array.dtype == np.uint8
    assert array.flags.c_contiguous
    assert array.flags.writeable


def png(path, width, height, bit_depth, color_type, rows, *chunks_after):
    """A PNG written by hand: Pillow cannot write all the kinds it reads."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bit_depth, color_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    tail = b"".join(chunk(k, d) for k, d in chunks_after)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + tail + chunk(b"IEND", b"")
    )
    return path


# ---------------------------------------------------------------- images: modes


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm"])
def test_rgb_and_grey_come_back_as_they_were(tmp_path, suffix):
    image = read_image(saved(tmp_path / f"rgb.{suffix}", RGB))
    assert_rgb(image, 5, 8)
    assert (image == RGB).all()
    grey = read_image(saved(tmp_path / f"grey.{suffix}", GREY))
    assert_rgb(grey, 5, 8)
    assert (grey == GREY[:, :, None]).all()


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_is_scaled_and_not_clipped(tmp_path, suffix):
    image = read_image(saved(tmp_path / f"deep.{suffix}", DEEP))
    assert_rgb(image, 2, 5)
    expected = np.round(DEEP / 257).astype(np.uint8)  # 65535 = 255 * 257
    assert (image == expected[:, :, None]).all()
    assert image.max() == 255
    assert len(np.unique(image)) > 3  # clipping would leave hardly anything between black and white


def test_big_endian_and_pgm_16_bit(tmp_path):
    expected = np.round(DEEP / 257).astype(np.uint8)
    big = Image.frombytes("I;16B", (5, 2), DEEP.astype(">u2").tobytes())
    assert (upright_rgb(big)[:, :, 1] == expected).all()
    (tmp_path / "deep.pgm").write_bytes(b"P5 5 2 65535\n" + DEEP.astype(">u2").tobytes())
    assert (read_image(tmp_path / "deep.pgm")[:, :, 2] == expected).all()


def test_16_bit_rgb_png_keeps_its_high_bytes(tmp_path):
    values = RNG.integers(0, 65536, (3, 4, 3), dtype=np.uint16)
    path = png(tmp_path / "deep.png", 4, 3, 16, 2, [row.astype(">u2").tobytes() for row in values])
    assert np.abs(read_image(path).astype(int) - values / 257).max() <= 1


def test_32_bit_integers_within_16_bit_range_are_read_and_others_refused(tmp_path):
    path = saved(tmp_path / "i.tif", DEEP.astype(np.int32))
    assert (read_image(path)[:, :, 0] == np.round(DEEP / 257)).all()
    with pytest.raises(InputError, match=r"0\.\.70000"):
        read_image(saved(tmp_path / "big.tif", np.array([[0, 70000]], np.int32)))


def test_float_image_is_refused_with_the_reason(tmp_path):
    with pytest.raises(InputError, match="mode F") as caught:
        read_image(saved(tmp_path / "f.tif", np.zeros((2, 2), np.float32)))
    assert "f.tif" in str(caught.value)


def test_one_bit_is_black_and_white(tmp_path):
    bits = GREY > 127
    assert (read_image(saved(tmp_path / "bits.png", bits)) == np.where(bits, 255, 0)[:, :, None]).all()


def test_palette_gives_colours(tmp_path):
    palette = RNG.integers(0, 256, (256, 3), dtype=np.uint8)
    image = Image.fromarray(GREY, "L")
    image.putpalette(palette.tobytes())
    image.save(tmp_path / "p.png")
    assert (read_image(tmp_path / "p.png") == palette[GREY]).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P+transparency", "PA"])
def test_transparency_is_laid_over_black(tmp_path, mode):
    alpha = RNG.integers(0, 256, GREY.shape, dtype=np.uint8)
    alpha[0, 0], alpha[0, 1] = 0, 255
    if mode == "RGBA":
        color = RGB
        image = read_image(saved(tmp_path / "a.png", np.dstack([RGB, alpha])))
    elif mode == "LA":
        color = np.repeat(GREY[:, :, None], 3, 2)
        image = read_image(saved(tmp_path / "a.png", np.dstack([GREY, alpha])))
    elif mode == "PA":
        color = np.repeat(GREY[:, :, None], 3, 2)
        indexed = Image.frombytes("PA", (8, 5), np.dstack([GREY, alpha]).tobytes())
        indexed.putpalette(np.repeat(np.arange(256, dtype=np.uint8), 3).tobytes())
        image = upright_rgb(indexed)
    else:
        palette = RNG.integers(0, 256, (256, 3), dtype=np.uint8)
        alpha_of = RNG.integers(0, 256, 256, dtype=np.uint8)
        indexed = Image.fromarray(GREY, "L")
        indexed.putpalette(palette.tobytes())
        indexed.save(tmp_path / "a.png", transparency=alpha_of.tobytes())
        color, alpha = palette[GREY], alpha_of[GREY]
        image = read_image(tmp_path / "a.png")
    assert_rgb(image, 5, 8)
    expected = color * (alpha[:, :, None] / 255)
    assert np.abs(image - expected).max() <= 1  # Pillow's integer blend rounds
    assert (image[alpha == 255] == color[alpha == 255]).all()
    assert (image[alpha == 0] == 0).all()


def test_transparent_colour_of_an_rgb_png(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "key.png", transparency=tuple(int(v) for v in RGB[2, 3]))
    image = read_image(tmp_path / "key.png")
    assert (image[2, 3] == 0).all()
    assert (image[0] == RGB[0]).all()


def test_cmyk_and_ycbcr_jpeg_become_rgb(tmp_path):
    smooth = np.zeros((32, 32, 3), np.uint8)
    smooth[:, :16] = (200, 40, 40)
    smooth[:, 16:] = (30, 60, 220)
    for mode in ("CMYK", "YCbCr"):
        path = saved(tmp_path / f"{mode}.jpg", smooth, mode, quality=100, subsampling=0)
        image = read_image(path)
        assert_rgb(image, 32, 32)
        assert np.abs(image.astype(int) - smooth).max() <= 6  # JPEG at quality 100


def test_only_the_first_of_several_pictures_is_read(tmp_path):
    first, second = Image.fromarray(RGB), Image.fromarray(255 - RGB)
    first.save(tmp_path / "two.tif", save_all=True, append_images=[second])
    assert (read_image(tmp_path / "two.tif") == RGB).all()


def test_real_photos_equal_pillow():
    photos = sorted((SHARED / "ade20k-sample/images/validation").glob("*.jpg"))
    if not photos:
        pytest.skip(f"no ade20k-sample in {SHARED}")
    for photo in photos:
        with Image.open(photo) as image:
            assert (read_image(photo) == np.asarray(image.convert("RGB"))).all()
            assert image_size(photo) == (image.height, image.width)


# ---------------------------------------------------------------- EXIF


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif", "jpg", "webp"])
def test_every_orientation_comes_out_upright(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if suffix == "webp" else {}
    Image.fromarray(RGB).save(tmp_path / f"x.{suffix}", exif=exif.tobytes(), **options)
    with Image.open(tmp_path / f"x.{suffix}") as stored:
        expected = np.asarray(ImageOps.exif_transpose(stored))
    image = read_image(tmp_path / f"x.{suffix}")
    assert_rgb(image, *expected.shape[:2])
    assert (image == expected).all()
    assert image_size(tmp_path / f"x.{suffix}") == expected.shape[:2]
    assert expected.shape[:2] == ((8, 5) if orientation >= 5 else (5, 8))


def test_orientation_six_by_hand(tmp_path):
    """6 = the camera was turned: the stored left column is the upright top row [EXIF 2.3]."""
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)
    Image.fromarray(stored).save(tmp_path / "six.png", exif=exif.tobytes())
    upright = [[4, 1], [5, 2], [6, 3]]
    assert read_image(tmp_path / "six.png")[:, :, 0].tolist() == upright
    assert read_mask(tmp_path / "six.png").tolist() == upright


def test_exif_behind_the_pixels_of_a_png(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 8
    rows = [bytes([1, 2, 3]), bytes([4, 5, 6])]
    path = png(tmp_path / "late.png", 3, 2, 8, 0, rows, (b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")))
    assert image_size(path) == (3, 2)
    assert read_image(path)[:, :, 0].tolist() == [[3, 6], [2, 5], [1, 4]]


def test_damaged_metadata_around_sound_pixels_is_no_error_and_no_warning(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "x.png", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01broken")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (read_image(tmp_path / "x.png") == RGB).all()
        assert image_size(tmp_path / "x.png") == (5, 8)


# ---------------------------------------------------------------- JPEGs at reduced scale


def scene(height, width):
    """A picture with edges and texture of every size: noise of octaves, each half as large and weaker."""
    rng = np.random.default_rng(5)
    total = np.zeros((height, width, 3))
    for octave in range(1, 8):
        small = rng.normal(0, 1, (height // 2**octave + 2, width // 2**octave + 2, 3))
        large = [
            Image.fromarray(c.astype(np.float32)).resize((width, height)) for c in np.moveaxis(small, 2, 0)
        ]
        total += np.stack(large, axis=2) * 2**octave
    return np.clip(total / total.std() * 50 + 128, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("size_hw", "target_hw", "scale"),
    [
        ((800, 1200), (75, 112), 8),
        ((800, 1200), (76, 112), 4),  # 100 rows at 1/8 are less than 4/3 of 76
        ((800, 1200), (75, 113), 4),
        ((800, 1200), (150, 225), 4),
        ((800, 1200), (300, 450), 2),
        ((800, 1200), (301, 450), 1),
        ((800, 1200), (1, 1), 8),
        ((5, 8), (1, 1), 2),
        ((3, 3), (1, 1), 2),
        ((1, 2000), (1, 16), 1),
    ],
)
def test_scale_leaves_enough_by_hand(tmp_path, size_hw, target_hw, scale):
    path = saved(tmp_path / "x.jpg", np.full((*size_hw, 3), 77, np.uint8))
    picture = read_picture(path, target=lambda height, width: target_hw)
    assert picture.scale == scale
    assert picture.size_hw == size_hw
    assert picture.pixels.shape == (-(-size_hw[0] // scale), -(-size_hw[1] // scale), 3)
    if scale > 1:
        assert size_hw[0] / scale >= SPARE * target_hw[0]
        assert size_hw[1] / scale >= SPARE * target_hw[1]
    assert_rgb(picture.pixels, *picture.pixels.shape[:2])
    assert (picture.pixels == 77).all()


def test_target_is_asked_about_the_upright_picture(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path / "x.jpg", np.zeros((800, 1200, 3), np.uint8), exif=exif)
    for size_hw, scale in {(112, 75): 8, (75, 112): 4, (225, 150): 4, (112, 76): 4}.items():
        picture = read_picture(path, target=lambda *upright, size=size_hw: {(1200, 800): size}[upright])
        assert picture.scale == scale
        assert picture.pixels.shape == (1200 // scale, 800 // scale, 3)


@pytest.mark.parametrize("kind", ["4:2:0", "4:4:4", "progressive", "L", "CMYK"])
@pytest.mark.parametrize("short_side", [37, 75, 149, 280])
def test_reduced_picture_is_close_to_the_full_one(tmp_path, kind, short_side):
    options = {"L": {"mode": "L"}, "CMYK": {"mode": "CMYK"}, "progressive": {"progressive": True}}.get(
        kind, {"subsampling": kind}
    )
    path = saved(tmp_path / "x.jpg", scene(601, 803), quality=90, **options)
    policy = ResizePolicy(mode="short-side", size=short_side)
    picture = read_picture(path, target=policy.target_size)
    small = prepare_picture(picture, policy)
    assert picture.scale == {37: 8, 75: 4, 149: 2, 280: 1}[short_side]
    exact = resize_image(read_image(path), small.shape[:2])
    assert np.abs(small.astype(int) - exact).mean() < 1.5
    assert abs(small.mean() - exact.mean()) < 0.3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size_hw", [(601, 803), (607, 801), (608, 808)])
def test_reduced_picture_stays_in_place_to_a_tenth_of_a_pixel(tmp_path, orientation, size_hw):
    """A ramp in each direction: where it says it is, is where it is. Sizes that 8 divides, and others."""
    height, width = size_hw
    ramp = np.zeros((height, width, 3))
    ramp[:, :, 0] = (np.arange(width) + 0.5) / width
    ramp[:, :, 1] = ((np.arange(height) + 0.5) / height)[:, None]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "x.jpg"
    Image.fromarray((ramp * 250).round().astype(np.uint8)).save(path, quality=100, subsampling=0, exif=exif)
    policy = ResizePolicy(mode="squash", size=(40, 40))
    picture = read_picture(path, target=policy.target_size)
    small = prepare_picture(picture, policy)
    assert (picture.scale, picture.orientation) == (8, orientation)
    assert picture.size_hw == ((width, height) if orientation >= 5 else (height, width))
    line = (np.arange(40) + 0.5) / 40 * 250
    exact = np.zeros((40, 40, 3), np.uint8)
    exact[:, :, 0], exact[:, :, 1] = line.round(), line.round()[:, None]
    turn = Image.fromarray(exact)
    turn.getexif()[0x0112] = orientation
    upright = np.asarray(ImageOps.exif_transpose(turn)).astype(float)
    pixel = 250 / 40  # grey levels from one pixel of the small picture to the next
    difference = (small.astype(float) - upright)[2:-2, 2:-2, :2]
    for corner in (difference[:9, :9], difference[-9:, :9], difference[:9, -9:], difference[-9:, -9:]):
        assert np.abs(corner.mean((0, 1))).max() < 0.1 * pixel


def lossless_jpeg(grey):
    """A lossless JPEG [ITU-T T.81, annex H] of uint8 (h, w), predictor 1; every code is five bits long."""

    def segment(marker, data):
        return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data

    height, width = grey.shape
    values = grey.astype(int)
    before = np.roll(values, 1, axis=1)
    before[1:, 0], before[0, 0] = values[:-1, 0], 128
    bits = ""
    for difference in (values - before).ravel().tolist():
        size = abs(difference).bit_length()
        bits += f"{size:05b}"
        if size:
            bits += f"{difference if difference > 0 else difference + 2**size - 1:0{size}b}"
    bits += "1" * (-len(bits) % 8)
    data = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    return b"".join(
        [
            b"\xff\xd8",
            segment(0xC3, struct.pack(">BHHB3B", 8, height, width, 1, 1, 0x11, 0)),
            segment(0xC4, bytes([0, 0, 0, 0, 0, 17, *[0] * 11, *range(17)])),
            segment(0xDA, bytes([1, 1, 0, 1, 0, 0])),
            data,
            b"\xff\xd9",
        ]
    )


def test_lossless_jpeg_is_read_whatever_the_target(tmp_path):
    (tmp_path / "x.jpg").write_bytes(lossless_jpeg(GREY.repeat(16, 0).repeat(16, 1)))
    picture = read_picture(tmp_path / "x.jpg", target=lambda height, width: (1, 1))
    assert picture.scale == 1
    assert (picture.pixels[::16, ::16, 0] == GREY).all()


def test_scale_does_not_decide_which_damaged_file_is_an_error(tmp_path):
    path, rng = tmp_path / "x.jpg", np.random.default_rng(2)
    outcomes = set()
    for options in ({"subsampling": "4:2:0"}, {"progressive": True}):
        saved(path, scene(61, 83), quality=90, **options)
        whole = path.read_bytes()
        cuts = [whole[:-cut] for cut in [*range(1, 12), *rng.integers(12, len(whole), 20)]]
        damaged = np.tile(np.frombuffer(whole, np.uint8), (80, 1))
        for row in damaged:
            row[rng.integers(0, len(whole), 3)] = rng.integers(0, 256, 3)
        for data in [*cuts, *(row.tobytes() for row in damaged)]:
            path.write_bytes(data)
            told = []
            for target in (None, (25, 25), (1, 1)):
                try:
                    read_picture(path, target=target and (lambda height, width, target=target: target))
                    told.append("read")
                except InputError:
                    told.append("refused")
            assert len(set(told)) == 1, told
            outcomes |= set(told)
    assert outcomes == {"read", "refused"}


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_other_formats_are_decoded_whole(tmp_path, suffix):
    path = saved(tmp_path / f"x.{suffix}", scene(64, 80))
    picture = read_picture(path, target=lambda height, width: (4, 5))
    assert picture.scale == 1
    assert picture.pixels.shape == (64, 80, 3)
    assert picture.box == (0, 0, 80, 64)


def test_picture_tells_the_facts_of_its_file(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for suffix in ("jpg", "png", "tif"):
        path = tmp_path / f"x.{suffix}"
        Image.fromarray(RGB).save(path, exif=exif.tobytes())
        picture = read_picture(path)
        assert picture.orientation == 6
        assert picture.size_hw == picture.pixels.shape[:2] == (8, 5)
        assert picture.digest == (path.stat().st_size, zlib.crc32(path.read_bytes()))
    assert read_picture(saved(tmp_path / "plain.png", RGB)).orientation == 1


def test_large_pictures_come_in_bands(tmp_path):
    wide, high = np.tile(RGB, (30, 6000, 1)), np.tile(RGB, (6000, 8, 1))
    for name, pixels in (("wide", wide), ("high", high), ("row", wide[:1]), ("column", high[:, :1])):
        assert (read_image(saved(tmp_path / f"{name}.bmp", pixels)) == pixels).all()
        for mode in ("L", "P"):
            image = Image.frombytes(mode, pixels.shape[1::-1], np.ascontiguousarray(pixels[:, :, 0]))
            if mode == "P":
                image.putpalette(bytes(768))
            image.save(tmp_path / "mask.png", compress_level=1)
            assert (read_mask(tmp_path / "mask.png") == pixels[:, :, 0]).all()
        bits = pixels[:, :, 0] > 127
        assert (read_mask(saved(tmp_path / "mask.png", bits, compress_level=1)) == bits).all()


# ---------------------------------------------------------------- size limits


def test_pictures_beyond_pillows_limit_are_read_without_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # 40 pixels: more than twice it, Pillow refuses
    path = saved(tmp_path / "large.png", RGB)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (read_image(path) == RGB).all()
        assert image_size(path) == (5, 8)
    assert Image.MAX_IMAGE_PIXELS == 10


def test_20000_squared_is_accepted_and_a_lying_header_is_not(tmp_path):
    assert image_size(png(tmp_path / "large.png", 20000, 20000, 8, 0, [])) == (20000, 20000)
    path = png(tmp_path / "lie.png", 2**20, 2**20, 8, 0, [])
    with pytest.raises(InputError, match=str(MAX_PIXELS)):
        read_image(path)


# ---------------------------------------------------------------- errors


def test_every_kind_of_unreadable_file_is_named_with_a_fix(tmp_path):
    whole = saved(tmp_path / "whole.png", RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)).read_bytes()
    photo = saved(tmp_path / "whole.jpg", RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)).read_bytes()
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "cut.jpg").write_bytes(photo[: len(photo) // 2])
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "lfs.png").write_text("version https://git-lfs.github.com/spec/v1\n")
    (tmp_path / "page.jpg").write_text("<!DOCTYPE html>")
    (tmp_path / "folder.png").mkdir()
    expected = {
        "empty.png": "empty",
        "cut.png": "cut off",
        "cut.jpg": "cut off",
        "text.png": "not an image",
        "lfs.png": "git lfs pull",
        "page.jpg": "web page",
        "folder.png": "a folder",
        "missing.png": "does not exist",
    }
    for name, message in expected.items():
        for read in (read_image,) if name == "cut.jpg" else (read_image, read_mask):
            with pytest.raises(InputError, match=message) as caught:
                read(tmp_path / name)
            assert name in str(caught.value)
            assert "fix:" in str(caught.value)


def test_no_permission(tmp_path):
    path = saved(tmp_path / "secret.png", RGB)
    path.chmod(0)
    try:
        path.read_bytes()
    except PermissionError:
        with pytest.raises(InputError, match="permission"):
            read_image(path)
    else:
        pytest.skip("this user reads files without permission (root, or no permissions on this file system)")


def test_random_damage_is_read_or_named(tmp_path):
    image = Image.fromarray(RNG.integers(0, 256, (24, 24, 3), dtype=np.uint8))
    rng = np.random.default_rng(1)
    named = set()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for suffix in ("png", "jpg", "tif", "gif", "bmp", "webp"):
            image.save(tmp_path / f"whole.{suffix}")
            whole = np.frombuffer((tmp_path / f"whole.{suffix}").read_bytes(), np.uint8)
            for _ in range(40):
                damaged = whole.copy()
                damaged[rng.integers(0, len(whole), 4)] = rng.integers(0, 256, 4)
                (tmp_path / "damaged").write_bytes(damaged[: rng.integers(1, len(whole) + 1)].tobytes())
                for read in (read_image, read_mask, image_size):
                    try:
                        read(tmp_path / "damaged")
                    except InputError as error:
                        named.add(str(error.where))
    assert named == {str(tmp_path / "damaged")}


# ---------------------------------------------------------------- masks


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_index_masks(tmp_path, suffix):
    mask = read_mask(saved(tmp_path / f"m.{suffix}", GREY))
    assert mask.dtype == np.uint8
    assert (mask == GREY).all()
    assert mask.flags.c_contiguous
    assert mask.flags.writeable


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_masks_keep_their_numbers(tmp_path, suffix):
    mask = read_mask(saved(tmp_path / f"m.{suffix}", DEEP))
    assert mask.dtype == np.uint16
    assert (mask == DEEP).all()


def test_palette_masks_give_indices_and_never_colours(tmp_path):
    for entries in (2, 4, 16, 256):  # Pillow writes 1, 2, 4 and 8 bits
        indices = RNG.integers(0, entries, (5, 9), dtype=np.uint8)
        image = Image.fromarray(indices, "L")
        image.putpalette(RNG.integers(0, 256, entries * 3, dtype=np.uint8).tobytes())
        image.save(tmp_path / "p.png", transparency=0)
        assert (read_mask(tmp_path / "p.png") == indices).all()


def test_one_bit_masks_are_zero_and_one(tmp_path):
    bits = GREY > 127
    for suffix in ("png", "tif"):
        mask = read_mask(saved(tmp_path / f"m.{suffix}", bits))
        assert mask.dtype == np.uint8
        assert (mask == bits.astype(np.uint8)).all()


@pytest.mark.parametrize("bits", [2, 4])
def test_grey_of_few_bits_keeps_its_numbers(tmp_path, bits):
    values = [[3, 0, 1, 2]]
    packed = int("".join(f"{v:0{bits}b}" for v in values[0]), 2).to_bytes(bits // 2, "big")
    assert read_mask(png(tmp_path / "m.png", 4, 1, bits, 0, [packed])).tolist() == values


def test_tiff_with_white_as_zero_keeps_its_numbers(tmp_path):
    saved(tmp_path / "m.tif", GREY)
    data = (tmp_path / "m.tif").read_bytes()
    tag = data.index(struct.pack("<HHI", 262, 3, 1))  # PhotometricInterpretation: 1 = black is zero
    (tmp_path / "m.tif").write_bytes(data[: tag + 8] + b"\0" + data[tag + 9 :])
    assert (read_mask(tmp_path / "m.tif") == GREY).all()


def test_grey_in_equal_channels(tmp_path):
    three = np.repeat(GREY[:, :, None], 3, 2)
    alpha = RNG.integers(0, 256, GREY.shape, dtype=np.uint8)
    assert (read_mask(saved(tmp_path / "rgb.png", three)) == GREY).all()
    assert (read_mask(saved(tmp_path / "rgba.png", np.dstack([three, alpha]))) == GREY).all()
    assert (read_mask(saved(tmp_path / "la.png", np.dstack([GREY, alpha]))) == GREY).all()


def test_colour_masks_are_refused_with_a_way_out(tmp_path):
    color = np.repeat(GREY[:, :, None], 3, 2)
    color[1, 2] = (1, 2, 3)
    with pytest.raises(InputError, match=r"1 coloured pixels") as caught:
        read_mask(saved(tmp_path / "color.png", color))
    assert "dataset.yaml" in str(caught.value)


@pytest.mark.parametrize("suffix", ["jpg", "webp", "pgm", "gif"])
def test_mask_formats_that_change_values_are_refused(tmp_path, suffix):
    with pytest.raises(InputError, match="cannot be trusted") as caught:
        read_mask(saved(tmp_path / f"m.{suffix}", GREY))
    assert "PNG" in str(caught.value)


def test_jpeg_inside_tiff_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be trusted"):
        read_mask(saved(tmp_path / "m.tif", np.zeros((16, 16), np.uint8), compression="jpeg"))


def test_16_bit_colour_mask_is_not_cut_to_high_bytes(tmp_path):
    rows = [np.full((4, 3), 7, ">u2").tobytes()] * 2
    with pytest.raises(InputError, match="16 bits"):
        read_mask(png(tmp_path / "m.png", 4, 2, 16, 2, rows))


def test_mask_numbers_out_of_range_and_floats_are_refused(tmp_path):
    with pytest.raises(InputError, match="-1"):
        read_mask(saved(tmp_path / "m.tif", np.array([[-1, 3]], np.int32)))
    with pytest.raises(InputError, match="mode F"):
        read_mask(saved(tmp_path / "f.tif", np.zeros((2, 2), np.float32)))


def test_non_ascii_names_and_spaces(tmp_path):
    folder = tmp_path / "Bilder für später 写真"
    folder.mkdir()
    assert (read_image(saved(folder / "straße 1.png", RGB)) == RGB).all()
