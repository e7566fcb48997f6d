"""Two sections of pictures: the images that cost most, and where the network is sure and wrong."""

from __future__ import annotations

from sceneparse.report.classes import Classes
from sceneparse.report.findings import Mistake
from sceneparse.report.markup import count, percent, text
from sceneparse.report.next_steps import named
from sceneparse.report.pictures import Encoded

WORST_NOTE = (
    "The images that hold the mean IoU back most: it would be so much higher if all of the image were right. "
    "Image, label, prediction, and the wrong pixels in red; ignored ones are hatched. Click to enlarge."
)

REGIONS_NOTE = (
    "Places of some size, away from boundaries, where the network gives its answer 90\u00a0% or more and the "
    "label says otherwise, framed in the image. Look who is right: a label may be wrong, or two classes may "
    "have been told apart in two ways."
)

SHOWN = 4
"""Pictures that are seen at once; the others open on a click."""


def mistakes_section(classes: Classes | None, mistakes: list[Mistake], pictures: list[Encoded | None]) -> str:
    """Pictures with their numbers; without a picture the numbers alone."""
    if classes is None or not mistakes:
        return ""
    figures = [
        f"<figure>{_picture(mistake, image)}<figcaption><b>{text(mistake.name)}</b><br>"
        f"{_costs(classes, mistake) if mistake.gain is not None else _differs(classes, mistake)}"
        f"{_alike(mistake)}</figcaption></figure>"
        for mistake, image in zip(mistakes, pictures, strict=True)
    ]
    first, rest = "".join(figures[:SHOWN]), "".join(figures[SHOWN:])
    more = (
        f"<details><summary>{len(figures) - SHOWN} more</summary>{_gallery(rest)}</details>" if rest else ""
    )
    return f"{_gallery(first)}{more}"


def _gallery(figures: str) -> str:
    return f'<div class="gallery mistaken">{figures}</div>'


def _picture(mistake: Mistake, image: Encoded | None) -> str:
    if image is None:
        return ""
    words = f"image, label, prediction and errors of {mistake.name}"
    return (
        f'<button type=button><img src="{image.src}" width="{image.width}" height="{image.height}" '
        f'alt="{text(words)}"></button>'
    )


def _costs(classes: Classes, mistake: Mistake) -> str:
    return (
        f"costs {100 * (mistake.gain or 0):.2f}\u00a0points · pixel accuracy {percent(mistake.accuracy, 1)}"
        f" · its own mean IoU {percent(mistake.mean_iou, 1)}<br>costs most there: "
        f"{named(classes, mistake.truth)} taken for {named(classes, mistake.prediction)}, "
        f"{count(mistake.pixels)} pixels"
    )


def _differs(classes: Classes, mistake: Mistake) -> str:
    return (
        f"label {named(classes, mistake.truth)}, network {named(classes, mistake.prediction)} with "
        f"{percent(mistake.confidence, 1)} · {percent(mistake.share, 1)} of the image"
    )


def _alike(mistake: Mistake) -> str:
    if not mistake.alike:
        return ""
    return f" · {count(mistake.alike)} other image{'s' * (mistake.alike > 1)} much the same"
