"""The ``sceneparse`` command: parse and call, nothing else."""

from __future__ import annotations

import argparse
import errno
import sys
from collections.abc import Sequence

from sceneparse import cli_verbs
from sceneparse.errors import InputError
from sceneparse.files import NO_SPACE


def build_parser() -> argparse.ArgumentParser:
    """The parser with all verbs."""
    parser = argparse.ArgumentParser(
        prog="sceneparse",
        description="Gives every pixel of an image a class: train, evaluate and use networks for scene parsing.",
        epilog="sceneparse VERB --help explains a verb. Start with: sceneparse demo",
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb in cli_verbs.VERBS:
        page = verbs.add_parser(
            verb.name,
            help=verb.summary,
            description=verb.description,
            epilog=verb.examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        verb.add_arguments(page)
        page.set_defaults(call=verb.call)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line.

    Returns:
        0 done, 2 wrong input, 1 our fault, 128 + N when signal N ended it.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # names of files may hold what the terminal cannot show
            stream.reconfigure(errors="replace")
    options = build_parser().parse_args(arguments)
    try:
        return int(options.call(options))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in (*NO_SPACE, errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        where = f"\n  where: {error.filename}" if error.filename else ""
        print(
            f"error: {error.strerror}{where}\n  fix:   free some space or choose another folder",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
