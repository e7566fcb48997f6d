"""What to collect or correct next, in sentences that follow from the numbers; none where they say nothing.

A threshold decides only whether a sentence is worth its line; the sentence itself gives the figures.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sceneparse.evaluation.reading import costliest_confusions
from sceneparse.report.classes import NO_CLASS, Classes
from sceneparse.report.findings import Findings
from sceneparse.report.markup import chip, count, percent, text
from sceneparse.report.setup import Setup

WEAK_IOU = 0.7
"""Classes below this, among the lowest, are looked into."""

FEW_IMAGES = 0.2
"""Part of the training images: in fewer, a class is called rare."""

FEW_PIXELS = 0.01
"""Part of the training pixels."""

OFTEN = 0.1
"""Part of a class that is taken for one other."""

THIN = 0.5
"""Part of a class that lies in the narrowest band around boundaries."""

COSTLY = 0.005
"""Gain of mean IoU from which a confusion is named."""

UNSURE_GAP = 0.02
"""Difference of confidence and accuracy that is named."""


def next_steps(
    classes: Classes | None,
    findings: Findings | None,
    setup: Setup | None = None,
    longer: Sequence[str] = (),
) -> str:
    """A list; empty where there is nothing to say.

    Args:
        classes: scores of the classes.
        findings: the reading, where there is one.
        setup: what the network was trained with; None where it is not known.
        longer: sentences of :func:`sceneparse.report.length.train_longer`.
    """
    if classes is None:
        return ""
    groups: list[tuple[str, Sequence[str]]] = [
        ("Train longer", longer),
        ("Weakest classes", _weak_classes(classes, findings, setup)),
        ("What costs most", _costliest(classes)),
        ("Where", _where(findings) if findings else []),
        ("Look at", _look_at(classes, findings) if findings else []),
        ("How sure", _how_sure(findings) if findings else []),
    ]
    lines = "".join(
        f"<dt>{title}</dt><dd><ul>{''.join(f'<li>{line}</li>' for line in found)}</ul></dd>"
        for title, found in groups
        if found
    )
    return f'<dl class="steps">{lines}</dl>' if lines else ""


def named(classes: Classes, index: int) -> str:
    """A class with its colour, or "no class"."""
    if index >= classes.count:
        return NO_CLASS
    return f"{chip(classes.colors[index])}{text(classes.names[index])}"


def points(gain: float) -> str:
    """A difference of fractions in points."""
    return f"{100 * gain:.1f}\u00a0points"


# ---------------------------------------------------------------------- weak classes


def _weak_classes(classes: Classes, findings: Findings | None, setup: Setup | None) -> list[str]:
    lines, thin = [], []
    for i in classes.worst:
        iou = classes.iou[i]
        if iou is None or iou >= WEAK_IOU:
            continue
        facts = [*_rare(findings, i), *_thin(findings, i), *_confused(classes, i)]
        said = f"{'; '.join(facts)}." if facts else "nothing stands out: it is taken for many classes."
        lines.append(f"<b>{named(classes, i)}</b> IoU {percent(iou, 1)}{_in_training(findings, i)}: {said}")
        thin += [named(classes, i)] if _thin(findings, i) else []
    if thin:
        lines.append(
            f"For {_listed(thin)}, which {'is' if len(thin) == 1 else 'are'} thin: "
            f"<em>{_for_thin(findings, setup)}</em>."
        )
    return lines


def _listed(names: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([*filter(None, [", ".join(names[:-1])]), names[-1]])


def _in_training(findings: Findings | None, i: int) -> str:
    """How often a class is in the training split; nothing where that is not known, or it is not there."""
    train = findings.train if findings else None
    if train is None or not train.pixels[i]:
        return ""
    share = float(train.pixels[i] / train.pixels.sum())
    return (
        f", in {count(int(train.containing[i]))} of {count(train.images)} training images, {percent(share)} "
        "of their pixels"
    )


def _rare(findings: Findings | None, i: int) -> list[str]:
    train = findings.train if findings else None
    if train is None or not train.pixels.any():
        return []
    if not train.pixels[i]:
        return ["not in the training split at all: <em>put pictures of it there</em>"]
    if train.containing[i] < FEW_IMAGES * train.images:
        return ["rare: <em>collect more pictures of it</em>"]
    return ["few pixels"] if train.pixels[i] / train.pixels.sum() < FEW_PIXELS else []


def _confused(classes: Classes, i: int) -> list[str]:
    if classes.matrix is None:
        return []
    facts = []
    missed, false = classes.matrix[i].copy(), classes.matrix[:, i].copy()
    total, predicted = missed.sum(), false.sum()
    missed[i] = false[i] = 0
    j = int(missed.argmax())
    if missed[j] > OFTEN * total:
        facts.append(f"{percent(missed[j] / total, 0)} of it is taken for {named(classes, j)}")
    j = int(false.argmax())
    if false[j] > OFTEN * predicted:
        facts.append(f"{percent(false[j] / predicted, 0)} of what is called so is {named(classes, j)}")
    return facts


def _thin(findings: Findings | None, i: int) -> list[str]:
    if findings is None or not findings.true[:, i].sum():
        return []
    near, all_of_it = int(findings.true[0, i]), int(findings.true[:, i].sum())
    if near < THIN * all_of_it:
        return []
    return [f"thin, {percent(near / all_of_it, 0)} of it within {findings.widths[0]} pixels of a boundary"]


def _for_thin(findings: Findings | None, setup: Setup | None) -> str:
    """What can be done for thin classes with this network and these pictures."""
    if setup is None:
        return "pictures from closer by may help, or a network of finer stride if there is one"
    ways = []
    if setup.finer is not None:
        ways.append(f"a head of finer stride, {text(setup.finer)} (now stride {setup.stride})")
    if setup.resize is not None and (findings is None or findings.shrunk != 0):
        ways.append(f"pictures at their own size, --set data.resize=none (now {text(setup.resize)})")
    if ways:
        return f"train with {', or '.join(ways)}"
    scaled = "crops scaled up" if setup.scale is None else f"crops scaled up by more than {setup.scale:g}"
    return f"collect pictures from closer by, or train on {scaled}"


# ---------------------------------------------------------------------- the rest


def _costliest(classes: Classes) -> list[str]:
    if classes.matrix is None or not classes.matrix.any():
        return []
    lines = []
    for pair in costliest_confusions(classes.matrix, classes.matrix, 3):
        i, j = int(pair["truth"]), int(pair["prediction"])
        if pair["gain"] < COSTLY:
            break
        lines.append(
            f"{named(classes, i)} taken for {named(classes, j)}: without it the mean IoU would be "
            f"<b>{points(pair['gain'])}</b> higher."
        )
    return lines


def _where(findings: Findings) -> list[str]:
    """Whether mistakes are at outlines or inside."""
    near = slice(0, 2)
    wrong = (findings.true - findings.right).sum(1)
    total, width = int(wrong.sum()), findings.widths[1]
    if not total:
        return []
    part, share = wrong[near].sum() / total, findings.within(near).share
    if part >= 0.6 and part >= 1.5 * share:
        meaning = "mostly outlines, not things, are wrong"
    elif part <= 0.4:
        meaning = "mostly things, not outlines, are wrong"
    else:
        return []
    return [
        f"{percent(part, 0)} of the wrong pixels lie within {width} pixels of a boundary, where "
        f"{percent(share, 0)} of all pixels are: {meaning}."
    ]


def _look_at(classes: Classes, findings: Findings) -> list[str]:
    lines = []
    worst = [mistake for mistake in findings.worst if (mistake.gain or 0) > 0][:3]
    if worst:
        names = ", ".join(f'<a href="#worst">{text(mistake.name)}</a>' for mistake in worst)
        lines.append(f"{names}: {'these images cost' if len(worst) > 1 else 'this image costs'} most.")
    if findings.regions:
        first = findings.regions[0]
        of_them, images = findings.images_with_regions, findings.images
        where = f"In {count(of_them)} of {count(images)} images" if images > 1 else "In the image"
        lines.append(
            f'{where} the network is sure and <a href="#regions">the label says otherwise</a>: wrong labels, '
            f"or what it has learned wrongly. The largest is {named(classes, first.truth)}, which it calls "
            f"{named(classes, first.prediction)}, {percent(first.share, 1)} of {text(first.name)}."
        )
    return lines


def _how_sure(findings: Findings) -> list[str]:
    if findings.calibration is None or not findings.calibration.pixels.any():
        return []
    gap, error = findings.calibration.overconfidence, findings.calibration.expected_error
    right = findings.calibration.right.sum() / findings.calibration.pixels.sum()
    figures = f"{percent(float(right + gap), 1)} sure on average, right in {percent(float(right), 1)}"
    if gap >= UNSURE_GAP:
        return [f"Too sure of itself: {figures}. Its confidence should not be taken as a probability."]
    if gap <= -UNSURE_GAP:
        return [f"Less sure than it could be: {figures}."]
    if error >= UNSURE_GAP and np.isfinite(error):
        return [f"Sure in the wrong places: confidence and accuracy differ by {points(error)} on average."]
    return []
