"""The verbs about data sets: their arguments, their help pages, and what each calls."""

from __future__ import annotations

from pathlib import Path

from sceneparse.cli_verb import Options, Parser, Verb


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


DATA_VERBS: tuple[Verb, ...] = (
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
)
