"""The verbs about data sets: their arguments, their help pages, and what each calls."""

from __future__ import annotations

from pathlib import Path

from sceneparse.cli_arguments import DATA, add_label_set
from sceneparse.cli_verb import Options, Parser, Verb
from sceneparse.errors import InputError


def _check_arguments(parser: Parser) -> None:
    parser.add_argument("data", metavar="DATA", help=DATA)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was found, for programs")
    parser.add_argument(
        "--sheet",
        type=Path,
        metavar="FILE",
        help="write a PNG of images with their masks laid over",
    )
    parser.add_argument(
        "--split", action="append", metavar="NAME", help="look at this split only; as often as needed"
    )
    add_label_set(parser)
    parser.add_argument(
        "--write-yaml",
        nargs="?",
        type=Path,
        const=Path(),
        metavar="FILE",
        help="only propose a dataset.yaml from what is in the folder (default: DATA/dataset.yaml)",
    )


def _propose(options: Options) -> int:
    import shutil
    import sys

    from sceneparse.data.propose import propose

    others = {"--json": options.json, "--sheet": options.sheet, "--split": options.split}
    others["--label-set"] = options.label_set
    for flag, value in others.items():
        if value is not None:
            raise InputError(
                f"{flag} has no effect with --write-yaml", fix="write the file first, then check"
            )
    root = Path(options.data)
    file = None if options.write_yaml == Path() else options.write_yaml
    proposal = propose(root, file=file, progress=sys.stderr.isatty())
    proposal.write()
    from sceneparse.report.check_text import proposal_text

    width = shutil.get_terminal_size((100, 24)).columns
    print(proposal_text(proposal, data=str(proposal.path if file else root), width=width), end="")
    return 0


def _check(options: Options) -> int:
    import json
    import shutil
    import sys

    from sceneparse import __version__
    from sceneparse.data.check import check
    from sceneparse.data.dataset import open_dataset
    from sceneparse.files import write_atomically, write_text
    from sceneparse.outputs import output_file

    if options.write_yaml is not None:
        return _propose(options)
    for path in (options.json, options.sheet):
        if path is not None:
            output_file(path)
    dataset = open_dataset(options.data, label_set=options.label_set, keep_faults=True)
    checked = check(dataset, splits=options.split, progress=sys.stderr.isatty())
    if options.json is not None:
        values = {"version": __version__, **checked.to_dict()}
        write_text(options.json, json.dumps(values, indent=1) + "\n")  # ASCII: names may be no text

    from sceneparse.report.check_text import check_text

    if options.sheet is not None:
        from sceneparse.report.check_sheet import check_sheet

        sheet = check_sheet(checked)
        write_atomically(options.sheet, lambda file: sheet.save(file, "PNG"))
    width = shutil.get_terminal_size((100, 24)).columns
    print(check_text(checked, data=options.data, width=width, styled=sys.stdout.isatty()), end="")
    return 2 if checked.stops else 0


def _download_arguments(parser: Parser) -> None:
    parser.add_argument("name", metavar="NAME", help="which data set: ade20k")
    parser.add_argument(
        "--to", required=True, type=Path, metavar="DIR", help="folder in which the data set's own appears"
    )
    parser.add_argument(
        "--url",
        metavar="URL",
        help="a mirror of its zip file, http:// or https://, or a copy of it, file:// or a path; the "
        "checksum stays the same",
    )
    parser.add_argument("--keep-zip", action="store_true", help="leave the downloaded zip file in DIR")


def _download(options: Options) -> int:
    import shlex

    from rich.console import Console

    from sceneparse.data.download import download

    folder = download(
        options.name,
        options.to,
        url=options.url,
        console=Console(stderr=True),
        keep_archive=options.keep_zip,
    )
    print(f"look at it next: sceneparse check {shlex.quote(str(folder))}")
    return 0


def _convert_arguments(parser: Parser) -> None:
    parser.add_argument("source", metavar="SRC", help=DATA)
    parser.add_argument("folder", type=Path, metavar="DST", help="folder for the new data set; new or empty")
    parser.add_argument(
        "--skip-bad", action="store_true", help="leave out files with faults, and say how many"
    )


def _convert(options: Options) -> int:
    import shlex

    from sceneparse.data.convert import convert
    from sceneparse.data.dataset import open_dataset
    from sceneparse.data.faults import counted

    dataset = open_dataset(options.source, keep_faults=True)
    result = convert(
        dataset,
        options.folder,
        skip_bad=options.skip_bad,
        progress=True,
        command=shlex.join(options.command),
    )
    pairs = ", ".join(f"{count} {split}" for split, count in result.counts.items())
    print(f"{result.folder}: {pairs}; {result.labels.num_classes} classes; {result.labels.describe()}")
    if result.left_out:
        print(f"left out because of --skip-bad: {counted(result.left_out)}")
    folder = shlex.quote(str(result.folder))
    if result.warnings:
        print(f"warnings: {counted(result.warnings)}; `sceneparse check {folder}` lists them")
    if "val" not in result.counts:
        print("there is no validation split: move some of the pairs into images/val and masks/val")
    print(f"train on it next: sceneparse train {folder} --out runs/{shlex.quote(result.folder.name)}")
    return 0


DATA_VERBS: tuple[Verb, ...] = (
    Verb(
        "check",
        "look at every image and mask; say what is wrong, and what to do",
        "Reads every image and mask once and lists everything that is wrong: file, value,\n"
        "what to do. Prints what the data is, what 0 and 255 mean in its masks, and its\n"
        "classes with their shares of the pixels. Exit code 0: it can be trained; 2:\n"
        "something stops a training. Writes nothing but the files that are asked for.",
        "examples:\n"
        "  sceneparse check data/camvid\n"
        "  sceneparse check data/mine --sheet sheet.png --json check.json\n"
        "  sceneparse check data/mine --split val\n"
        "  sceneparse check data/mine --write-yaml",
        _check_arguments,
        _check,
    ),
    Verb(
        "download",
        "bring a known data set; goes on where it was stopped",
        "Brings a known data set: says address, size, terms and space first, downloads,\n"
        "compares the checksum, unpacks. A stopped download goes on where it was with the\n"
        "same command; when all is there, the command does nothing.\n\n"
        "  ade20k   MIT Scene Parsing: 20,210 training and 2,000 validation images with\n"
        "           150 classes, 0.97 GB, non-commercial research and education only\n\n"
        "Without a network: put ADEChallengeData2016.zip into DIR, then the same command.",
        "examples:\n"
        "  sceneparse download ade20k --to data\n"
        "  sceneparse download ade20k --to data --url ../ADEChallengeData2016.zip",
        _download_arguments,
        _download,
    ),
    Verb(
        "convert",
        "write masks of any form as plain index masks",
        "Writes a data set of any layout and any form of mask in the plain layout:\n\n"
        "  DST/images/SPLIT/NAME.EXT   the image files, byte for byte\n"
        "  DST/masks/SPLIT/NAME.png    palette PNG: classes 0, 1, 2 ...; 255 is ignored\n"
        "                              (16-bit grey and 65535 above 255 classes)\n"
        "  DST/dataset.yaml            names and colours of the classes\n\n"
        "Classes that are merged or ignored in SRC's dataset.yaml are so in the masks. All\n"
        "files are checked first: with a fault in one of them nothing is written.",
        "examples:\n"
        "  sceneparse convert cvat-export data/plain\n"
        "  sceneparse convert coco/dataset.yaml data/plain --skip-bad",
        _convert_arguments,
        _convert,
    ),
)
