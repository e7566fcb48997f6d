"""The verbs of the command line: their arguments, their help pages, and what each calls."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sceneparse.errors import InputError

Parser = argparse.ArgumentParser
Options = argparse.Namespace


@dataclass(frozen=True)
class Verb:
    """One verb.

    Args:
        name: as typed.
        summary: its line in the list of verbs.
        description: top of its help page.
        examples: bottom of its help page.
        add_arguments: fills its parser.
        call: does it; returns the exit code.
    """

    name: str
    summary: str
    description: str
    examples: str
    add_arguments: Callable[[Parser], None]
    call: Callable[[Options], int]


# ---------------------------------------------------------------------- types of arguments


def _size(text: str) -> tuple[int, int]:
    try:
        height, width = (int(part) for part in text.replace("x", ",").split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHT,WIDTH, for instance 224,224") from None
    return height, width


def _tile(text: str) -> str | int:
    if text == "auto":
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither auto nor a number of pixels") from None


def _scales(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of factors like 0.75,1,1.25") from None


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE, for instance optimizer.lr=0.001")
    return name.strip(), value


# ---------------------------------------------------------------------- demo


def _demo_arguments(parser: Parser) -> None:
    parser.add_argument(
        "--out", type=Path, default=Path("demo"), help="folder for everything (default: demo)"
    )


def _demo(options: Options) -> int:
    from sceneparse.demo import run_demo

    return run_demo(options.out)


# ---------------------------------------------------------------------- train


def _train_arguments(parser: Parser) -> None:
    from sceneparse.labels import LABEL_SETS

    parser.add_argument("data", metavar="DATA", help="folder in a recognised layout, or a dataset.yaml")
    parser.add_argument("--out", required=True, type=Path, metavar="RUN", help="run folder; new or empty")
    parser.add_argument("--recipe", help="where the settings start from (default: fcn8s-tutorial)")
    parser.add_argument("--model", help="HEAD-BACKBONE: fcn8s-vgg19, fcn16s-resnet50, fcn8s-wide-vgg19 ...")
    parser.add_argument(
        "--init",
        metavar="WEIGHTS",
        help="imagenet, a file of weights (.mat .pth .safetensors), a run or bundle",
    )
    parser.add_argument("--size", type=_size, metavar="H,W", help="training crop in pixels")
    parser.add_argument("--batch-size", type=int, metavar="N", help="samples of one forward pass")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=int, metavar="N", help="optimizer steps in all")
    length.add_argument("--epochs", type=float, metavar="N", help="passes over the training split in all")
    parser.add_argument("--lr", type=float, metavar="X", help="learning rate at its height")
    parser.add_argument("--precision", help="auto, 32, bf16 or 16")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--seed", type=int, metavar="N", help="of everything random")
    parser.add_argument(
        "--workers", type=int, metavar="N", help="processes that load ahead; -1 suits the machine"
    )
    parser.add_argument("--label-set", help=f"class list instead of the data's: {', '.join(LABEL_SETS)}")
    parser.add_argument("--resume", action="store_true", help="go on with the run in the folder --out")
    parser.add_argument(
        "--deterministic",
        action="store_true",
        default=None,
        help="refuse operations that vary from run to run",
    )
    parser.add_argument(
        "--set",
        action="append",
        type=_assignment,
        default=[],
        metavar="a.b=v",
        dest="assignments",
        help="any setting of config.yaml; may be given several times",
    )


_TRAIN_SETTINGS = {
    "model": "model.name",
    "init": "model.init",
    "size": "augmentation.crop",
    "batch_size": "batch_size",
    "steps": "steps",
    "epochs": "epochs",
    "lr": "optimizer.lr",
    "precision": "precision",
    "device": "device",
    "seed": "seed",
    "workers": "workers",
    "label_set": "data.label_set",
    "deterministic": "deterministic",
}


def _train(options: Options) -> int:
    from sceneparse.recipes import DEFAULT_RECIPE, recipe
    from sceneparse.report import write_report
    from sceneparse.settings import override
    from sceneparse.training.run import config_for_resume, train

    given: dict[str, Any] = {"data.path": options.data}
    for flag, setting in _TRAIN_SETTINGS.items():
        if getattr(options, flag) is not None:
            given[setting] = getattr(options, flag)
    if options.resume:
        base = config_for_resume(options.out)
        if options.recipe is not None:
            given["recipe"] = options.recipe
    else:
        base = recipe(options.recipe or DEFAULT_RECIPE)
        if options.size is not None and base.data.resize == "short-side":
            given["data.short_side"] = max(base.data.short_side, min(options.size))
    if options.steps is not None:
        given["epochs"] = None
    if options.epochs is not None:
        given["steps"] = 0
    config = override(base, given | dict(options.assignments))
    result = train(config, options.out, resume=options.resume, command=("sceneparse", *sys.argv[1:]))
    report = write_report(options.out)
    if result.stopped_by is not None:
        print(
            f"stopped at step {result.step} of {result.steps}, saved; go on with:\n"
            f"  sceneparse train {options.data} --out {options.out} --resume",
            file=sys.stderr,
        )
        return 128 + result.stopped_by
    print(
        f"{options.out}: {result.step} steps, best mean IoU {result.mean_iou:.4f} at step {result.best_step}\n"
        f"report:  {report}\n"
        f"predict: sceneparse predict {options.out} PHOTO --out predictions"
    )
    return 0


# ---------------------------------------------------------------------- evaluate, score


def _evaluate_arguments(parser: Parser) -> None:
    parser.add_argument("model", metavar="MODEL", help="run folder or bundle folder")
    parser.add_argument("data", metavar="DATA", help="folder in a recognised layout, or a dataset.yaml")
    parser.add_argument("--split", default="val", help="val (default) or train")
    parser.add_argument("--absent", default="skip", choices=("skip", "zero"), help="rule for absent classes")
    parser.add_argument(
        "--scales", type=_scales, default=(1.0,), help="sizes to average over, like 0.75,1,1.25"
    )
    parser.add_argument("--flip", action="store_true", help="average over the mirrored picture too")
    parser.add_argument("--label-set", help="class list instead of the data's own")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="also write numbers.json, confusion.csv, labels/"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers as JSON")


def _evaluate(options: Options) -> int:
    from rich.console import Console

    from sceneparse.data.layouts import open_dataset
    from sceneparse.evaluation.confusion import format_table
    from sceneparse.evaluation.evaluate import evaluate
    from sceneparse.evaluation.outputs import write_evaluation
    from sceneparse.prediction.predictor import load
    from sceneparse.prediction.segmentation import Segmentation

    predictor = load(options.model, device=options.device)
    dataset = open_dataset(options.data, label_set=options.label_set)
    labels = predictor.labels

    def keep(stem: str, index: Any) -> None:
        if options.out is not None:
            result = Segmentation(labels=labels.to_file(index), label_set=labels)
            result.save_labels(options.out / "labels" / f"{stem}.png")

    numbers, matrix = evaluate(
        predictor,
        dataset,
        split=options.split,
        absent=options.absent,
        scales=options.scales,
        flip=options.flip,
        console=Console(stderr=True),
        each=keep,
    )
    if options.out is not None:
        write_evaluation(options.out, numbers, matrix)
    return _show(numbers, options.json, format_table)


def _show(numbers: dict[str, Any], file: Path | None, table: Callable[[dict[str, Any]], Any]) -> int:
    from rich.console import Console

    from sceneparse.files import write_text

    Console().print(table(numbers))
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps(numbers, indent=2, ensure_ascii=False) + "\n")
    return 0


def _score_arguments(parser: Parser) -> None:
    parser.add_argument("predictions", metavar="PRED_DIR", type=Path, help="folder of predicted label PNGs")
    parser.add_argument("labels", metavar="LABEL_DIR", type=Path, help="folder of label PNGs, same stems")
    parser.add_argument(
        "--classes", metavar="FILE", help="class names: a file, or a shipped list like ade20k"
    )
    parser.add_argument(
        "--ignore", type=int, action="append", default=[], metavar="N", help="number without effect"
    )
    parser.add_argument("--absent", default="skip", choices=("skip", "zero"), help="rule for absent classes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers as JSON")


def _score(options: Options) -> int:
    from sceneparse.evaluation.confusion import format_table
    from sceneparse.evaluation.score import read_classes, score_folders

    labels = None if options.classes is None else read_classes(options.classes)
    numbers, _ = score_folders(
        options.predictions, options.labels, labels=labels, ignore=options.ignore, absent=options.absent
    )
    return _show(numbers, options.json, format_table)


# ---------------------------------------------------------------------- predict


def _predict_arguments(parser: Parser) -> None:
    parser.add_argument("model", metavar="MODEL", help="run folder or bundle folder")
    parser.add_argument("inputs", metavar="INPUT", nargs="+", help="photos, folders or globs")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the results")
    parser.add_argument(
        "--tile", type=_tile, default="auto", help="auto, 0 for never, or the side of windows"
    )
    parser.add_argument(
        "--scales", type=_scales, default=(1.0,), help="sizes to average over, like 0.75,1,1.25"
    )
    parser.add_argument("--flip", action="store_true", help="average over the mirrored picture too")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")


def _predict(options: Options) -> int:
    from sceneparse.prediction.files import predict_files

    return predict_files(
        options.model,
        options.inputs,
        options.out,
        tile=options.tile,
        scales=options.scales,
        flip=options.flip,
        device=options.device,
    )


# ---------------------------------------------------------------------- report, env


def _report_arguments(parser: Parser) -> None:
    parser.add_argument("run", metavar="RUN", type=Path, help="run folder")


def _report(options: Options) -> int:
    from sceneparse.report import write_curves, write_report

    write_curves(options.run)
    print(write_report(options.run))
    return 0


def _env(options: Options) -> int:
    from sceneparse import environment

    for part, values in environment.describe().items():
        if isinstance(values, dict):
            for name, value in values.items():
                print(f"{part + ' ' + name:24} {value}")
        else:
            print(f"{part:24} {values}")
    return 0


VERBS = (
    Verb(
        "demo",
        "draw scenes, train on them, evaluate, predict, write a report: three minutes, no data, no network",
        "Draws the built-in scenes, trains an FCN-8s on them from random weights, evaluates it on scenes it has\n"
        "not seen, predicts, and writes OUT/report.html. Needs no data, no network and no flags.",
        "examples:\n  sceneparse demo\n  sceneparse demo --out /tmp/demo",
        _demo_arguments,
        _demo,
    ),
    Verb(
        "train",
        "train a network on your images and masks; leaves a run folder",
        "Trains a network. DATA is a folder in a recognised layout (ADE20K challenge, CamVid, plain\n"
        "images/{train,val} + masks/{train,val}) or a dataset.yaml. Leaves in RUN: settings, numbers, curves,\n"
        "pictures, checkpoints, report.html and model/, which predict and evaluate take.",
        "examples:\n"
        "  sceneparse train ADEChallengeData2016 --out runs/ade --init imagenet\n"
        "  sceneparse train camvid --out runs/camvid --recipe camvid-cpu\n"
        "  sceneparse train mydata --out runs/mine --model fcn8s-resnet18 --size 256,256 --batch-size 8 --epochs 50\n"
        "  sceneparse train mydata --out runs/mine --resume            after a kill, Ctrl-C or a full disk\n"
        "  sceneparse train mydata --out runs/new --init runs/mine     start from its weights\n"
        "recipes: fcn8s-tutorial (default), fcn8s-paper, camvid-cpu, scenes-demo",
        _train_arguments,
        _train,
    ),
    Verb(
        "evaluate",
        "the numbers of a model on a data set",
        "Prints per-class IoU and accuracy, mean IoU, pixel accuracy, mean accuracy, frequency weighted IoU and\n"
        "the benchmark score, from one confusion matrix over the whole split at the labels' own size.",
        "examples:\n  sceneparse evaluate runs/camvid camvid\n"
        "  sceneparse evaluate runs/camvid camvid --scales 0.75,1,1.25 --flip --json numbers.json",
        _evaluate_arguments,
        _evaluate,
    ),
    Verb(
        "score",
        "the same numbers from two folders of label PNGs",
        "Compares two folders of label PNGs, file by file of the same stem. No model is needed.",
        "examples:\n  sceneparse score predictions annotations --classes ade20k --absent zero\n"
        "  sceneparse score out/labels valannot --classes camvid",
        _score_arguments,
        _score,
    ),
    Verb(
        "predict",
        "parse photos: labels, overlays and class shares",
        "Writes DIR/labels/STEM.png (the data set's own numbers, at the photo's own size, with a palette),\n"
        "DIR/overlays/STEM.png (photo, classes, legend) and DIR/shares.csv (share of pixels per class).",
        "examples:\n  sceneparse predict runs/camvid street.jpg --out out\n"
        "  sceneparse predict runs/camvid photos 'more/*.png' --out out --flip",
        _predict_arguments,
        _predict,
    ),
    Verb(
        "report",
        "write a run's report.html again",
        "Rewrites RUN/report.html and RUN/curves.png from what is in the run folder.",
        "example:\n  sceneparse report runs/camvid",
        _report_arguments,
        _report,
    ),
    Verb(
        "env",
        "versions and hardware, to paste into a report",
        "Prints versions, hardware and the state of the source.",
        "example:\n  sceneparse env",
        lambda parser: None,
        _env,
    ),
)
