"""Damage to one file of a data set, of every kind that happens and some that only malice thinks of."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import struct
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import yaml
from damage import damaged, damaged_bytes

# ---------------------------------------------------------------------- damage to any file


def flipped(data: bytes, rng: random.Random) -> bytes:
    spoilt = bytearray(data)
    for _ in range(rng.choice((1, 2, 20)) if data else 0):
        spoilt[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(spoilt)


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def garbage(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.randbytes(rng.choice((1, 4, 100, 5000))) + data[at:]


def piece_moved(data: bytes, rng: random.Random) -> bytes:
    """A piece lost, doubled, or of zeros."""
    start, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:start] + rng.choice((b"", data[start:end] * 2, bytes(end - start))) + data[end:]


_STRANGERS = (
    b"",
    b"\0" * 5000,
    b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n",
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
    b"GIF89a\x02\x00\x02\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff,\x00\x00\x00\x00\x02\x00\x02\x00\x00\x02\x03D\x02\x05\x00;",
    b"GIF89a\xff\xff\xff\xff\xf7\x00\x00" + b"\0" * 800,
    b"BM" + struct.pack("<IHHIIiiHHIIiiII", 70, 0, 0, 54, 40, 2**31 - 1, 2**31 - 1, 1, 24, 0, 0, 0, 0, 0, 0),
    b"P5 60000 60000 255\n" + b"\0" * 100,
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff\xd9",
    b"II*\x00\x08\x00\x00\x00\xff\xff" + b"\x01" * 500,
    b"RIFF\xff\xff\xff\x7fWEBPVP8X" + b"\xff" * 60,
    b"\0\0\0\x18ftypheic" + b"\0" * 60,
    b"\0\0\0\x0cjP  \r\n\x87\n" + b"\xff" * 80,
    b"PK\x03\x04" + b"\0" * 60,
    b"\xef\xbb\xbf",
    b"{",
    b"[" * 100_000,
    b"- " * 50_000,
    b"a: " * 5000,
    b"9" * 10_000,
    b"," * 100_000 + b"\n" + b'"' * 3,
    b"\n" * 100_000,
)


def stranger(data: bytes, rng: random.Random) -> bytes:
    """Something else altogether."""
    return rng.choice(_STRANGERS)


# ---------------------------------------------------------------------- pictures

_PNG = b"\x89PNG\r\n\x1a\n"


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        found.append((kind, data[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def _png(chunks: Iterable[tuple[bytes, bytes]]) -> bytes:
    parts = [_PNG]
    for kind, data in chunks:
        parts += [struct.pack(">I", len(data)), kind, data, struct.pack(">I", zlib.crc32(kind + data))]
    return b"".join(parts)


def _segments(data: bytes) -> list[bytes]:
    """Of a JPEG: each marker with what belongs to it; the compressed pixels with the last."""
    found, at = [data[:2]], 2
    while at + 4 <= len(data) and data[at + 1] != 0xDA:
        length = 2 + struct.unpack_from(">H", data, at + 2)[0]
        found.append(data[at : at + length])
        at += length
    return [*found, data[at:]]


_SIDES = (0, 1, 2, 7, 1000, 32768, 60_000, 2**31 - 1, 2**32 - 1)


def header(data: bytes, rng: random.Random) -> bytes:
    """Another size, depth or kind of pixels in the header, with a checksum that fits."""
    if data.startswith(_PNG):
        chunks = _chunks(data)
        fields = list(struct.unpack(">IIBBBBB", chunks[0][1]))
        for at in rng.choice(((0,), (1,), (0, 1), (2,), (3,), (2, 3), (6,))):
            fields[at] = rng.choice(_SIDES) if at < 2 else rng.choice((0, 1, 2, 3, 4, 6, 8, 16, 255))
        if rng.random() < 0.1:
            fields[:2] = 60_000, 60_000
        return _png([(b"IHDR", struct.pack(">IIBBBBB", *fields)), *chunks[1:]])
    if data.startswith(b"\xff\xd8"):
        segments = _segments(data)
        for i, segment in enumerate(segments):
            if segment[:1] == b"\xff" and segment[1] in (0xC0, 0xC1, 0xC2):
                fields = list(struct.unpack_from(">BHHB", segment, 4))
                for at in rng.choice(((1,), (2,), (1, 2), (0,), (3,))):
                    fields[at] = rng.choice((0, 1, 3, 7, 255, 65535)) % (256 if at in (0, 3) else 65536)
                segments[i] = segment[:4] + struct.pack(">BHHB", *fields) + segment[10:]
        return b"".join(segments)
    spoilt = bytearray(data)  # a TIFF: the table of its fields is at the end or the beginning
    for _ in range(3):
        at = rng.choice((rng.randrange(16), len(data) - 1 - rng.randrange(150))) % len(data)
        spoilt[at] = rng.choice((0, 1, 2, 3, 8, 16, 32, 127, 255))
    return bytes(spoilt)


def pieces(data: bytes, rng: random.Random) -> bytes:
    """Chunks or segments swapped, lost, doubled, or added."""
    png = data.startswith(_PNG)
    if not png and not data.startswith(b"\xff\xd8"):
        return piece_moved(data, rng)
    parts: list = _chunks(data) if png else _segments(data)
    at, other = (rng.randrange(len(parts)) for _ in range(2))
    kind = rng.randrange(4)
    if kind == 0:
        parts[at], parts[other] = parts[other], parts[at]
    elif kind == 1:
        del parts[at]
    elif kind == 2:
        parts.insert(other, parts[at])
    else:
        parts.insert(1 + rng.randrange(max(1, len(parts) - 1)), (_odd_chunk if png else _odd_segment)(rng))
    return _png(parts) if png else b"".join(parts)


def _odd_chunk(rng: random.Random) -> tuple[bytes, bytes]:
    bomb = zlib.compress(bytes(50_000_000), 9)
    return rng.choice(
        (
            (b"tRNS", rng.randbytes(rng.randrange(300))),
            (b"PLTE", rng.randbytes(rng.choice((0, 1, 3, 768, 900)))),
            (b"eXIf", _exif(rng)),
            (b"eXIf", rng.randbytes(60)),
            (b"iCCP", b"name\0\0" + bomb),
            (b"zTXt", b"name\0\0" + bomb),
            (b"iTXt", b"name\0\1\0\0\0" + bomb),
            (b"acTL", struct.pack(">II", 2**31 - 1, 0)),
            (b"fcTL", rng.randbytes(26)),
            (b"IDAT", bomb[:20_000]),
            (b"gAMA", rng.randbytes(3)),
            (b"pHYs", rng.randbytes(9)),
            (b"ABCD", rng.randbytes(10)),
        )
    )


def _odd_segment(rng: random.Random) -> bytes:
    exif = b"Exif\0\0" + rng.choice((_exif(rng), rng.randbytes(100)))
    inside = rng.choice((exif, b"ICC_PROFILE\0\1\1" + rng.randbytes(50), b"Adobe" + rng.randbytes(7), b""))
    return (
        b"\xff"
        + bytes([rng.choice((0xE1, 0xE2, 0xEE, 0xDB, 0xC4, 0xDD, 0xFE))])
        + struct.pack(">H", len(inside) + 2)
        + inside
    )


def _exif(rng: random.Random) -> bytes:
    """A TIFF structure with an orientation, sensible or not."""
    entry = struct.pack(
        "<HHII", 0x0112, rng.choice((2, 3, 4, 12)), rng.choice((1, 1, 2**31)), rng.choice((3, 6, 8, 99))
    )
    return b"II*\0\x08\0\0\0" + struct.pack("<H", rng.choice((1, 1, 60_000))) + entry + b"\0\0\0\0"


def bomb(data: bytes, rng: random.Random) -> bytes:
    """A sound PNG of very many pixels in few bytes."""
    side = rng.choice((5000, 9000, 30_000, 33_000))
    depth, color = rng.choice(((1, 0), (8, 0), (8, 2), (8, 3))) if side < 30_000 else (1, 0)
    row = 1 + side * depth * (3 if color == 2 else 1) // 8
    packer = zlib.compressobj(1)
    pixels = b"".join(packer.compress(bytes(row)) for _ in range(side)) + packer.flush()
    palette = [(b"PLTE", bytes(6))] if color == 3 else []
    ihdr = struct.pack(">IIBBBBB", side, side, depth, color, 0, 0, 0)
    return _png([(b"IHDR", ihdr), *palette, (b"IDAT", pixels), (b"IEND", b"")])


# ---------------------------------------------------------------------- texts

_TOKENS = (
    *(
        "-1",
        "0",
        "255",
        "256",
        "65535",
        "65536",
        "9" * 25,
        "9" * 5000,
        "1e308",
        "1e999",
        ".nan",
        "nan",
        "-.inf",
    ),
    *(
        "null",
        "~",
        "true",
        "yes",
        "",
        " ",
        "\t",
        '"',
        "'",
        "[]",
        "{}",
        "0x1F",
        "0b1",
        "0o7",
        "1_000",
        "1:30:00",
    ),
    *(
        "2001-12-14",
        "2001-99-99",
        "!!python/object:os.system x",
        "!!binary abc",
        "!!set {a}",
        "!!timestamp x",
    ),
    *(
        "&a *a",
        "*missing",
        "<<: {a: b}",
        "? [a]",
        "@",
        "`",
        "%TAG ! x",
        "--- ",
        "...",
        "#",
        "|\n x",
        ">-\n  x",
    ),
    *(
        "../../../etc",
        "/",
        "~nobody/x",
        "C:\\x",
        "\\\\host\\share",
        "\ud7ff",
        "\u2028",
        "\x85",
        "\ufeff",
        "x" * 3000,
    ),
    *("con.png", ".", "..", "images", "masks/../masks", "\\ud800", '"\\ud800"', "\0", "a\0b"),
)


def token(data: bytes, rng: random.Random) -> bytes:
    """One to three words or numbers are replaced."""
    text = data.decode("utf-8", "replace")
    for _ in range(rng.randint(1, 3)):
        words = list(re.finditer(r"[^\s,:;{}\[\]\"']+", text))
        if words:
            word = rng.choice(words)
            text = text[: word.start()] + rng.choice(_TOKENS) + text[word.end() :]
    return text.encode("utf-8", "surrogatepass")


def document(data: bytes, rng: random.Random) -> bytes:
    """Values of other types, keys lost, in a document that is sound otherwise."""
    try:
        values = json.loads(data) if data[:1] in b"[{" else yaml.safe_load(data.decode())
    except (yaml.YAMLError, ValueError):
        return token(data, rng)
    return damaged(values, rng) if isinstance(values, (dict, list)) else damaged_bytes(data, rng)


def _aliases() -> str:
    levels = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]" for i in range(1, 10)]
    return "\n".join([*levels, "classes: *l9"])


_NESTED = (
    "classes: " + "[" * 50_000,
    "classes: " + "[" * 900 + "]" * 900,
    "classes: " + "{a: " * 5000,
    "\n".join(" " * i + f"k{i}:" for i in range(2000)),
    _aliases(),
    "a: &a [*a]\nclasses: *a",
    "\n".join(["a0: &a0 {k: v}", *(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}" for i in range(1, 40))]),
    '{"a":' * 50_000,
    "[" * 900 + "]" * 900,
    '{"shapes": ' + "[" * 20_000 + "]" * 20_000 + "}",
    '{"images": [], "images": [], "categories": {}, "annotations": [' + "{}," * 50_000 + "{}]}",
    "classes: [" + "a, " * 30_000 + "a]",
    "classes: {" + ", ".join(f"{i}: n{i}" for i in range(20_000)) + "}",
    "ignore: [" + "255, " * 30_000 + "255]",
)


def nested(data: bytes, rng: random.Random) -> bytes:
    """Deep, wide, or endless by aliases; alone or behind what was there."""
    text = rng.choice(_NESTED).encode()
    return rng.choice((text, data + b"\n" + text))


def encoding(data: bytes, rng: random.Random) -> bytes:
    text = data.decode("utf-8", "replace")
    return rng.choice(
        (
            text.encode("utf-16"),
            text.encode("utf-32-be"),
            text.encode("latin-1", "replace") + b"\xe9",
            b"\xef\xbb\xbf" + data,
            data.replace(b"\n", b"\r"),
            data.replace(b"\n", b"\0"),
            data.replace(b" ", b"\xc2\xa0"),
            data + b"\0",
            data + "\ud800".encode("utf-8", "surrogatepass"),
            data.upper(),
        )
    )


def lines(data: bytes, rng: random.Random) -> bytes:
    """Lines lost, doubled, exchanged, joined."""
    parts = data.split(b"\n")
    at, other = (rng.randrange(len(parts)) for _ in range(2))
    kind = rng.randrange(5)
    if kind == 0:
        del parts[at]
    elif kind == 1:
        parts.insert(other, parts[at])
    elif kind == 2:
        parts[at], parts[other] = parts[other], parts[at]
    elif kind == 3:
        parts[at] = b"    " + parts[at]
    else:
        return b"".join(parts)
    return b"\n".join(parts)


Change = Callable[[bytes, random.Random], bytes]

ANY: dict[str, Change] = {
    "bytes changed": flipped,
    "cut off": cut,
    "garbage put in": garbage,
    "piece lost, doubled or zero": piece_moved,
    "another file": stranger,
}
MANY_PIXELS = "very many pixels"
PICTURES = ANY | {"header": header, "chunks": pieces, MANY_PIXELS: bomb}
TEXTS = ANY | {
    "words and numbers": token,
    "types and keys": document,
    "nesting and aliases": nested,
    "encoding": encoding,
    "lines": lines,
}
FILE_SYSTEM = ("gone", "a folder", "a pipe", "link to nowhere", "link to itself")


# ---------------------------------------------------------------------- a data set


def spoil(root: Path, rng: random.Random) -> tuple[Path, str, Callable[[], None]]:
    """Damage one file of a data set; gives the file, the kind of damage, and what undoes it."""
    texts, images, masks = [], [], []
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        kinds = {".jpg": images, ".png": masks, ".tif": masks}
        kinds.get(path.suffix, texts).append(path)
    path = rng.choice(rng.choice([files for files in (texts, images, masks) if files]))
    data = path.read_bytes()

    def undo() -> None:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
        path.write_bytes(data)

    if rng.random() < 0.05:
        kind = rng.choice(FILE_SYSTEM)
        path.unlink()
        if kind == "a folder":
            path.mkdir()
        elif kind == "a pipe" and hasattr(os, "mkfifo"):
            os.mkfifo(path)
        elif kind == "link to nowhere":
            path.symlink_to("nowhere")
        elif kind == "link to itself":
            path.symlink_to(path.name)
        return path, kind, undo
    changes = TEXTS if path in texts else PICTURES
    # Very many pixels are sound, and take seconds.
    kind = rng.choices(list(changes), [0.2 if change is bomb else 1 for change in changes.values()])[0]
    path.write_bytes(changes[kind](data, rng))
    return path, kind, undo
