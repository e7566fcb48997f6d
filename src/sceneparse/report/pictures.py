"""Pictures inside the page: shrunk, re-encoded and written into the HTML as data."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError, features

MAX_BYTES = 2_700_000
"""All pictures together: written as base64 they grow by a third, and the page is to stay below 4 MB."""


class Profile(NamedTuple):
    """Widths in pixels of the latest panel, of earlier panels, of the gallery and of pictures of mistakes;
    quality of the encoding.
    """

    latest: int
    earlier: int
    gallery: int
    mistakes: int
    quality: int


PROFILES = (
    Profile(latest=1500, earlier=900, gallery=760, mistakes=1500, quality=84),
    Profile(latest=1300, earlier=640, gallery=560, mistakes=1100, quality=74),
    Profile(latest=1000, earlier=480, gallery=420, mistakes=800, quality=62),
)
"""Tried in this order until the pictures fit."""


class Encoded(NamedTuple):
    """A picture as it stands in the page."""

    mime: str
    data: bytes
    width: int
    height: int

    @property
    def src(self) -> str:
        """A ``data:`` address."""
        return f"data:{self.mime};base64,{base64.b64encode(self.data).decode('ascii')}"


def encode(path: Path, width: int, quality: int) -> Encoded | None:
    """A picture at most ``width`` pixels wide as WebP, as JPEG where Pillow has no WebP, or as PNG where that
    is smaller; None for a file that cannot be read.
    """
    try:
        with Image.open(path) as file:
            image = file.convert("RGB")
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError):
        return None
    if image.width > width:
        height = max(1, round(image.height * width / image.width))
        image = image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2)
    mime, form = ("image/webp", "WEBP") if features.check("webp") else ("image/jpeg", "JPEG")
    candidates = [(mime, _saved(image, form, quality))]
    if image.width * image.height <= 64 * 1024:
        candidates.append(("image/png", _saved(image, "PNG", quality)))
    mime, data = min(candidates, key=lambda candidate: len(candidate[1]))
    return Encoded(mime, data, image.width, image.height)


class Pictures(NamedTuple):
    """Those of a page, in the order of :func:`encode_all`."""

    latest: Encoded | None
    earlier: list[Encoded | None]
    gallery: list[Encoded | None]
    mistakes: list[Encoded | None]


def encode_all(
    latest: Path | None, earlier: list[Path], gallery: list[Path], mistakes: list[Path]
) -> Pictures:
    """The page's pictures by the first of :data:`PROFILES` with which they stay within :data:`MAX_BYTES`."""
    for profile in PROFILES:
        first = encode(latest, profile.latest, profile.quality) if latest else None
        before = [encode(path, profile.earlier, profile.quality) for path in earlier]
        after = [encode(path, profile.gallery, profile.quality) for path in gallery]
        wrong = [encode(path, profile.mistakes, profile.quality) for path in mistakes]
        if sum(len(p.data) for p in (first, *before, *after, *wrong) if p) <= MAX_BYTES:
            break
    return Pictures(first, before, after, wrong)


def _saved(image: Image.Image, form: str, quality: int) -> bytes:
    file = io.BytesIO()
    if form == "PNG":
        image.save(file, "PNG", optimize=True)
    else:
        # WebP's method 2 is twice as fast as its default and makes files 4 % larger; JPEG ignores it.
        image.save(file, form, quality=quality, method=2)
    return file.getvalue()
