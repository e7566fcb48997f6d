"""The verbs that give numbers: their arguments, their help pages, and what each calls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sceneparse.cli_arguments import DATA, LABEL_SETS, MODEL, add_averaging, add_label_set
from sceneparse.cli_verb import Options, Parser, Verb


def _evaluate_arguments(parser: Parser) -> None:
    parser.add_argument("model", metavar="MODEL", help=MODEL)
    parser.add_argument("data", metavar="DATA", help=DATA)
    parser.add_argument("--split", default="val", metavar="NAME", help="val (default), train or test")
    parser.add_argument(
        "--skip-bad", action="store_true", help="leave out files with faults, and say how many"
    )
    _add_absent(parser)
    add_averaging(parser)
    add_label_set(parser)
    parser.add_argument(
        "--devices",
        type=int,
        default=1,
        metavar="N",
        help="processes that share the images, each on a GPU of its own or a share of the processor "
        "(default: 1, which uses the whole processor too); the numbers are the same. On several machines "
        "start this command with torchrun",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="also write DIR/report.html, what is wrong on one page; numbers.json, confusion.csv, labels/, "
        "reading.json; and pictures of mistakes: worst/, regions/",
    )
    _add_json(parser)


def _evaluate(options: Options) -> int:
    from rich.console import Console

    from sceneparse import api
    from sceneparse.group import is_first_process
    from sceneparse.outputs import output_file

    if options.json is not None and is_first_process():
        output_file(options.json)
    numbers = api.evaluate(
        options.model,
        options.data,
        split=options.split,
        absent=options.absent,
        scales=options.scales,
        flip=options.flip,
        label_set=options.label_set,
        skip_bad=options.skip_bad,
        device=options.device,
        engine=options.engine,
        devices=options.devices,
        out=options.out,
        console=Console(stderr=True),
    )
    if not is_first_process():
        return 0
    _show(numbers, options.json)
    if options.out is not None:
        print(f"report: {options.out / 'report.html'}")
    return 0


def _score_arguments(parser: Parser) -> None:
    parser.add_argument("predictions", metavar="PRED_DIR", type=Path, help="folder of predicted label PNGs")
    parser.add_argument(
        "labels", metavar="LABEL_DIR", type=Path, help="folder of true label PNGs, same names"
    )
    parser.add_argument(
        "--classes",
        metavar="FILE",
        help=f"names of the classes: {LABEL_SETS}, a dataset.yaml, a .csv with number and name, or a .txt "
        "with one name a line from number 0; left out: every number found is a class",
    )
    parser.add_argument(
        "--ignore",
        type=int,
        nargs="+",
        action="extend",
        default=[],
        metavar="N",
        help="numbers in the true labels that do not count",
    )
    _add_absent(parser)
    _add_json(parser)


def _score(options: Options) -> int:
    from sceneparse.evaluation.score import read_classes, score_folders
    from sceneparse.outputs import output_file

    if options.json is not None:
        output_file(options.json)
    labels = None if options.classes is None else read_classes(options.classes)
    numbers, _ = score_folders(
        options.predictions,
        options.labels,
        labels=labels,
        ignore=options.ignore,
        absent=options.absent,
        progress=True,
    )
    return _show(numbers, options.json)


def _show(numbers: dict[str, Any], file: Path | None) -> int:
    from rich.console import Console

    from sceneparse.evaluation.confusion import format_table
    from sceneparse.files import write_text

    console = Console()
    console.print(format_table(numbers))
    if numbers["mean_iou"] is not None:
        keys = ("mean_iou", "pixel_accuracy", "benchmark_score")
        said = "   ".join(f"{key.replace('_', ' ').replace('iou', 'IoU')} {numbers[key]:.4f}" for key in keys)
        console.print(f"as fractions: {said}", highlight=False)
    if file is not None:
        write_text(file, json.dumps(numbers, indent=2, ensure_ascii=False) + "\n")
    return 0


def _add_absent(parser: Parser) -> None:
    parser.add_argument(
        "--absent",
        default="skip",
        choices=("skip", "zero"),
        help="a class with neither truth nor prediction: skip leaves it out of the means (default), "
        "zero counts it 0, the rule of MIT Scene Parsing",
    )


def _add_json(parser: Parser) -> None:
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers as JSON (fractions)")


SCORE_VERBS: tuple[Verb, ...] = (
    Verb(
        "evaluate",
        "the numbers of a model on a data set",
        "Prints IoU and accuracy of every class, mean IoU, pixel accuracy, mean accuracy,\n"
        "frequency weighted IoU and the benchmark score, from one confusion matrix over\n"
        "the whole split at the labels' own size.",
        "examples:\n"
        "  sceneparse evaluate runs/camvid camvid\n"
        "  sceneparse evaluate runs/camvid camvid --flip --scales 0.75,1,1.25\n"
        "  sceneparse evaluate runs/camvid camvid --json numbers.json --out evaluation\n"
        "  sceneparse evaluate runs/ade ADEChallengeData2016 --devices 8     on eight GPUs",
        _evaluate_arguments,
        _evaluate,
    ),
    Verb(
        "score",
        "the same numbers from two folders of label PNGs",
        "Compares two folders of label PNGs, file by file of the same name. Needs no model.",
        "examples:\n"
        "  sceneparse score predictions annotations --classes ade20k --absent zero\n"
        "  sceneparse score out/labels camvid/valannot --classes camvid\n"
        "  sceneparse score mine truth --ignore 0 255",
        _score_arguments,
        _score,
    ),
)
