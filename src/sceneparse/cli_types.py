"""Values on the command line: text to what a flag means, or a sentence that says what it takes."""

from __future__ import annotations

import argparse


def size(text: str) -> tuple[int, int]:
    """``224,320`` (or ``224x320``): height and width in pixels; one number is a square."""
    try:
        sides = [int(part) for part in text.replace("x", ",").split(",")]
    except ValueError:
        sides = []
    if len(sides) not in (1, 2) or min(sides) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHT,WIDTH in pixels, for instance 224,224")
    return sides[0], sides[-1]


def batch_size(text: str) -> int:
    """``auto``, which is 0, or a number of images."""
    if text == "auto":
        return 0
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is neither auto nor a number of images, at least 1")
    return int(text)


def tile(text: str) -> str | int:
    """``auto``, or the side of windows in pixels."""
    if text == "auto":
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither auto nor a number of pixels") from None


def scales(text: str) -> tuple[float, ...]:
    """``0.75,1,1.25``: factors on the size of a picture."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of factors like 0.75,1,1.25") from None


def assignment(text: str) -> tuple[str, str]:
    """``optimizer.lr=0.001``: a setting and its value as text."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE, for instance optimizer.lr=0.001")
    return name.strip(), value
