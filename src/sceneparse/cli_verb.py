"""What a verb of the command line is."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

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
