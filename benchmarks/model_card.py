"""The card of a bundle trained on CamVid: every figure in it comes from a run folder and its evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from finished_run import FinishedRun, training_command
from provenance import cost_said

from sceneparse.deploy.bundle import Bundle
from sceneparse.report.findings import Findings, Mistake

LICENCE = (
    "for research, not for commercial use: trained on CamVid, which is given for research "
    "(its packaging for segmentation under CC BY-NC)"
)

NOT_FOR = """\
* **Anything on which somebody's safety depends**: driving, warnings to drivers, guidance for the blind. The
  tables say what it misses, thin and small things most.
* **Other places and conditions than those of its few hundred pictures**: streets of Cambridge, England, by
  day and at dusk, from one camera in a car. Night, rain, snow, other countries' signs and vehicles, pictures
  from pavements, drones or fisheye lenses were never seen. What it says of a picture of something else is
  meaningless: every pixel gets one of its classes, and there is none for "something else".
* **Recognising, counting or following people.** It marks pixels, not persons.
* **Products and services that are sold**: see the licence.
* **The labels of another data set** by renaming classes: CamVid draws them by rules of its own.
"""

DATA = """\
CamVid [Brostow, Fauqueur, Cipolla, Pattern Recognition Letters 2009] in the packaging of SegNet: 480x360, 11
classes and void, which counts nowhere. Trained on *train* alone; *val* chose the checkpoint of the run and
gave the figures here; *test* was not used.

*val* is cut from a drive that *train* holds too, so these figures flatter: published networks score 10 to 12
points less on CamVid's test split. On streets of your own expect less still.
"""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture of a failure.

    Args:
        path: from the card.
        mistake: what it shows.
    """

    path: str
    mistake: Mistake


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the card says.

    Args:
        name: of the bundle.
        bundle: its configuration.
        numbers: of :func:`sceneparse.evaluate` on val, single scale, no flip.
        views: mean IoU with averaging, by what it is over.
        parameters: of the network.
        weight_bytes: of its file.
        changed: share of val's pixels whose class float16 has changed.
        mean_iou_before: with float32.
        findings: the reading of val.
        confusions: the costliest mistakes of the whole split, as
            :func:`sceneparse.evaluation.reading.costliest_confusions` gives them.
        run: where the weights come from.
        quality: figures of ``results/quality-RECIPE_*.json``: seeds and times; None where there is none.
        pictures: of failures.
    """

    name: str
    bundle: Bundle
    numbers: Mapping[str, Any]
    views: Mapping[str, float]
    parameters: int
    weight_bytes: int
    changed: float
    mean_iou_before: float
    findings: Findings
    confusions: Sequence[Mapping[str, Any]]
    run: FinishedRun
    quality: Mapping[str, Any] | None
    pictures: Sequence[Picture]


def card(facts: Facts) -> str:
    """The card in Markdown."""
    parts = (
        _head(facts),
        _use(facts),
        _scores(facts),
        _failures(facts),
        f"## What it is not for\n\n{NOT_FOR}",
        f"## Data and licence\n\n{DATA}\nThe weights are {facts.bundle.licence}. The code of sceneparse is "
        "under the MIT licence.\n",
        _training(facts),
    )
    return "\n".join(parts)


def _head(facts: Facts) -> str:
    classes = ", ".join(facts.bundle.labels.names)
    return (
        "---\n"
        "library_name: sceneparse\n"
        "pipeline_tag: image-segmentation\n"
        "license: other\n"
        "license_name: research-only\n"
        "datasets: [CamVid]\n"
        "metrics: [mean_iou]\n"
        "---\n\n"
        "<!-- written by benchmarks/ship.py from a run folder: change that, not this -->\n\n"
        f"# {facts.name}\n\n"
        "A small network for pictures of streets seen from a car: every pixel gets one of "
        f"{len(facts.numbers['per_class'])} classes ({classes}). `{facts.bundle.architecture['name']}`, "
        f"{facts.parameters / 1e6:.2f} million parameters, {facts.weight_bytes / 1e6:.1f} MB. It comes with "
        "the package and needs no network.\n\n"
        f"**Mean IoU {facts.numbers['mean_iou']:.3f}, pixel accuracy {facts.numbers['pixel_accuracy']:.3f}** "
        f"on CamVid val ({facts.numbers['images']} images, 480x360, single scale, no flip, void ignored).\n"
    )


def _use(facts: Facts) -> str:
    return (
        "## Use\n\n"
        "```\n"
        "sceneparse predict street.jpg --out out\n"
        "```\n\n"
        "```python\n"
        "import sceneparse\n\n"
        'result = sceneparse.load()("street.jpg")\n'
        "```\n\n"
        f"`{facts.name}` is also a MODEL: `sceneparse evaluate {facts.name} DATA`, "
        f"`sceneparse train DATA --out RUN --init {facts.name}`. {_size(facts.bundle)}\n"
    )


def _size(bundle: Bundle) -> str:
    if bundle.resize.mode == "short-side":
        return f"A picture of any size is brought to a short side of {bundle.resize.size} pixels first."
    return f"How pictures are brought to its size: {bundle.resize.mode}, {bundle.resize.size}."


def _scores(facts: Facts) -> str:
    rows = facts.numbers["per_class"]
    total = sum(row["pixels"] for row in rows)
    train = facts.findings.train
    assert train is not None, "the reading of a run counts its training split"
    of_train = train.pixels / train.pixels.sum()
    lines = [
        "## Scores\n",
        "| class | IoU | accuracy | share of val's pixels | of train's | train images with it |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for i, row in enumerate(rows):
        lines.append(
            f"| {row['name']} | {_fraction(row['iou'])} | {_fraction(row['accuracy'])} "
            f"| {row['pixels'] / total:.1%} | {of_train[i]:.1%} | {train.containing[i]} of {train.images} |"
        )
    lines += ["", f"* Single scale, no flip: mean IoU {facts.numbers['mean_iou']:.3f}."]
    lines += [f"* Averaged over {over}: {value:.3f}." for over, value in facts.views.items()]
    if facts.quality is not None:
        single = facts.quality["views"]["single"]
        iou, time = single["mean_iou"], single["ms"]
        if iou["n"] > 1:
            lines.append(
                f"* The recipe with {iou['n']} seeds: mean IoU {iou['mean']:.3f}, standard deviation "
                f"{iou['sd']:.3f}."
            )
        lines.append(
            f"* A picture of 480x360 takes {time['best']:.0f} ms on {facts.quality['machine']}: from uint8 "
            "pixels to the class of every pixel, the least of several times."
        )
    lines += [
        f"* At the outlines of things: mean IoU {_boundaries(facts.findings)}.",
        f"* Weights are kept in float16 and computed with in float32: {facts.changed:.3%} of val's pixels "
        "change their class by it, mean IoU from "
        f"{facts.mean_iou_before:.4f} to {facts.numbers['mean_iou']:.4f}.",
    ]
    calibration = facts.findings.calibration
    if calibration is not None:
        tendency = "too sure" if calibration.overconfidence > 0 else "too cautious"
        lines.append(
            f"* Calibration: the expected error of its confidence is {calibration.expected_error:.3f}; over "
            f"all pixels it is {tendency}, by {abs(calibration.overconfidence):.3f}."
        )
    return "\n".join([*lines, ""])


def _fraction(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _boundaries(findings: Findings) -> str:
    said = []
    for bands, width in enumerate(findings.widths):
        scores = findings.within(slice(0, bands + 1))
        said.append(f"{_fraction(scores.mean_iou)} within {width} pixels ({scores.share:.0%} of all)")
    return ", ".join(said)


def _failures(facts: Facts) -> str:
    names = [*facts.bundle.labels.names, "no class"]
    lines = [
        "## Where it fails\n",
        "What costs the mean IoU of val most (it would be so much higher without this mistake):\n",
        "| is | taken for | pixels | costs |",
        "| --- | --- | --- | --- |",
    ]
    for pair in facts.confusions:
        lines.append(
            f"| {names[pair['truth']]} | {names[pair['prediction']]} | {pair['pixels']:,} | "
            f"{100 * pair['gain']:.2f} points |"
        )
    lines += [
        "",
        "The images that cost most. Image, label, prediction, and the wrong pixels (the pictures are in the "
        f"project's repository, in `docs/images/{facts.name}`; an installed package has the text alone):",
        "",
    ]
    for picture in facts.pictures:
        mistake = picture.mistake
        assert mistake.gain is not None
        assert mistake.accuracy is not None
        alike = (
            f" {mistake.alike} other image{'s' * (mistake.alike > 1)} much the same." if mistake.alike else ""
        )
        lines += [
            f"**{mistake.name}**: {names[mistake.truth]} taken for {names[mistake.prediction]}; costs "
            f"{100 * mistake.gain:.2f} points, {mistake.accuracy:.1%} of its pixels are right.{alike}",
            "",
            f"![{mistake.name}: image, label, prediction, errors]({picture.path})",
            "",
        ]
    return "\n".join(lines)


def _seeds(facts: Facts) -> str:
    """What the runs of the other seeds took."""
    seeds = () if facts.quality is None else facts.quality.get("seeds", ())
    others = [seed for seed in seeds if seed["seed"] != facts.run.config.seed]
    if not others:
        return ""
    said = "; ".join(
        f"seed {seed['seed']}: {cost_said(seed['training_minutes'], seed['threads'])}" for seed in others
    )
    return f" The others: {said}."


def _training(facts: Facts) -> str:
    run, config = facts.run, facts.run.config
    versions = ", ".join(f"{name} {run.facts['versions'][name]}" for name in ("torch", "timm", "sceneparse"))
    return (
        "## Training, and how to repeat it\n\n"
        f"Recipe `{config.recipe}`, seed {config.seed}, start: {config.model.init or 'random weights'}. "
        f"{config.steps:,} steps of {config.images_per_step} crops of {config.augmentation.crop[0]}x"
        f"{config.augmentation.crop[1]}; {run.cost}, evaluations left out, at {run.images_per_second:.1f} "
        f"images a second on {run.machine}.{_seeds(facts)} The checkpoint is that of step "
        f"{facts.bundle.scores['step']}. {versions}.\n\n"
        "```\n"
        f"{training_command(config)} --seed {config.seed}\n"
        "python benchmarks/ship.py RUN\n"
        f"sceneparse evaluate {facts.name} DATA\n"
        "```\n\n"
        "DATA is CamVid's folder with `train`, `trainannot`, `val`, `valannot`.\n"
    )
