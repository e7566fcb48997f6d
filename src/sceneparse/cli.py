"""The ``sceneparse`` command: parse and call, nothing else."""

from __future__ import annotations

import argparse
import errno
import os
import re
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from sceneparse import __version__
from sceneparse.cli_verbs import VERBS
from sceneparse.errors import InputError, nearest
from sceneparse.files import NO_SPACE

DONE, OUR_FAULT, WRONG_INPUT = 0, 1, 2
INTERRUPTED, PIPE_CLOSED = 128 + 2, 128 + 13
"""As shells count a process that a signal ended."""

_USERS_DISK = (*NO_SPACE, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.EIO)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong as every other error is said."""

    def error(self, message: str) -> NoReturn:
        what = message.removeprefix("argument ")
        raise InputError(what[:1].lower() + what[1:], fix=f"see: {self.prog} --help")


def build_parser() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The parser, and that of each verb."""
    parser = _Parser(
        prog="sceneparse",
        description="Gives every pixel of an image a class: trains, evaluates and uses networks for scenes.",
        epilog="sceneparse VERB --help explains a verb. Start with: sceneparse demo",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"sceneparse {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    pages: dict[str, argparse.ArgumentParser] = {}
    for verb in VERBS:
        page = verbs.add_parser(
            verb.name,
            help=verb.summary,
            description=verb.description,
            epilog=verb.examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        verb.add_arguments(page)
        page.set_defaults(call=verb.call)
        pages[verb.name] = page
    return parser, pages


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of a command line, with the verb's function as ``call`` and the line as ``command``.

    Raises:
        InputError: an unknown verb or flag, of which the nearest is named, or a wrong or missing value.
    """
    parser, pages = build_parser()
    first = arguments[0] if arguments else ""
    if first and not first.startswith("-") and first not in pages:
        raise InputError(f"unknown verb {first!r}.{nearest(first, pages)}", fix=f"one of: {', '.join(pages)}")
    options, rest = parser.parse_known_args(arguments)
    if rest and not any(text.startswith("-") for text in rest):
        rest = _taken(pages[options.verb], options, rest)
    if rest:
        page = pages[options.verb]
        flags = re.findall(r"--[a-z-]+", page.format_usage())
        strange = next((text for text in rest if text.startswith("-")), None)
        if strange is not None:
            flag = strange.partition("=")[0]
            raise InputError(f"unknown flag {flag!r}.{nearest(flag, flags)}", fix=f"see: {page.prog} --help")
        raise InputError(f"one argument too many: {rest[0]!r}", fix=f"see: {page.prog} --help")
    options.command = ("sceneparse", *arguments)
    return options


def _taken(page: argparse.ArgumentParser, options: argparse.Namespace, rest: list[str]) -> list[str]:
    """What is left of words that follow a flag: argparse gives them to no argument that has words already."""
    several = [action.dest for action in page._actions if action.nargs == "+" and not action.option_strings]
    if not several:
        return rest
    setattr(options, several[-1], [*getattr(options, several[-1]), *rest])
    return []


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        arguments: what follows ``sceneparse``; those of this process by default.

    Returns:
        0 done, 2 wrong input, 1 our fault, 128 + N when signal N ended it.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # names of files may hold what the terminal cannot show
            stream.reconfigure(errors="replace")
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if not arguments:
        build_parser()[0].print_help(sys.stderr)
        return WRONG_INPUT
    try:
        options = parse(arguments)
        code = int(options.call(options))
        sys.stdout.flush()
        return code
    except InputError as error:
        return _say(str(error), WRONG_INPUT)
    except KeyboardInterrupt:
        return _say("interrupted", INTERRUPTED)
    except BrokenPipeError:  # whoever read the output, like head, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _USERS_DISK:
            where = f"\n  where: {error.filename}" if error.filename else ""
            fix = "free some space, correct the permissions, or choose another folder"
            return _say(f"{error.strerror}{where}\n  fix:   {fix}", WRONG_INPUT)
        traceback.print_exc()
        return _say(
            "this is our fault, not yours; what was saved before is intact\n"
            "  fix:   please report the lines above with what `sceneparse env` prints",
            OUR_FAULT,
        )


def _say(what: str, code: int) -> int:
    try:
        print(f"error: {what}" if code != INTERRUPTED else what, file=sys.stderr, flush=True)
    except BrokenPipeError:  # 2>&1 | head: the exit code still tells
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    return code


if __name__ == "__main__":
    raise SystemExit(main())
