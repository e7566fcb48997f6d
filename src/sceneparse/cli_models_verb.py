"""The verb about what can be named as a model."""

from __future__ import annotations

import json
import shutil
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from sceneparse.cli_verb import Options, Parser, Verb

if TYPE_CHECKING:
    from sceneparse.catalogue import Entry

_FEW = 40
"""Up to so many entries of a kind get a line each; more are shown by family."""

_MANY = 200
"""Of more than so many entries only the families are shown."""

_SAID = {"here": "weights here", "network": "weights need a network", "none": "no weights", "": ""}


def _arguments(parser: Parser) -> None:
    parser.add_argument(
        "word", nargs="?", metavar="WORD", help="only what has this in its name, family or description"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the list, every name in it, as JSON")


def _models(options: Options) -> int:
    from sceneparse.catalogue import KINDS, catalogue
    from sceneparse.errors import InputError
    from sceneparse.files import write_text
    from sceneparse.models.smp import INSTALL, smp_version
    from sceneparse.outputs import output_file

    if options.json is not None:
        output_file(options.json)
    entries = catalogue(options.word)
    if not entries:
        raise InputError(f"nothing is called {options.word!r}", fix="see all: sceneparse models")
    for kind, title in KINDS.items():
        of_kind = [entry for entry in entries if entry.kind == kind]
        if of_kind:
            print(title)
            print(*_lines(of_kind), sep="\n", end="\n\n")
    version = smp_version()
    print(f"segmentation_models.pytorch: {version or f'not installed; {INSTALL}'}")
    print("MODEL is also a run folder, a bundle folder, or a folder with an smp checkpoint.")
    if options.json is not None:
        listed = {"segmentation_models_pytorch": version, "models": [entry.to_dict() for entry in entries]}
        write_text(options.json, json.dumps(listed, indent=2, ensure_ascii=False) + "\n")
    return 0


def _lines(entries: list[Entry]) -> list[str]:
    if len(entries) > _FEW:
        return _families(entries)
    width = max(len(entry.name) for entry in entries)
    lines = []
    for entry in entries:
        said = (entry.about or entry.family, _SAID[entry.weights])
        lines.append(f"  {entry.name:{width}}  {'; '.join(filter(None, said))}".rstrip())
    return lines


def _families(entries: list[Entry]) -> list[str]:
    """Names by family, or only how many there are of each; and those with their weights here."""
    families: dict[str, list[str]] = {}
    for entry in entries:
        families.setdefault(entry.family, []).append(entry.name)
    by_family = sorted(families.items())
    if len(entries) > _MANY:
        lines = [
            *_wrapped(", ".join(f"{family}\xa0{len(names)}" for family, names in by_family)),
            "  The number is that of a family's backbones; sceneparse models FAMILY names them.",
        ]
    else:
        lines = [line for family, names in by_family for line in _wrapped(f"{family}: {', '.join(names)}")]
    here = [entry.name for entry in entries if entry.weights == "here"]
    return [*lines, *_wrapped(f"weights here: {', '.join(here) or 'of none'}")]


def _wrapped(text: str) -> list[str]:
    width = min(100, shutil.get_terminal_size((100, 24)).columns)
    lines = textwrap.wrap(
        text,
        width,
        initial_indent="  ",
        subsequent_indent="    ",
        break_on_hyphens=False,
        break_long_words=False,
    )
    return [line.replace("\xa0", " ") for line in lines]


MODELS_VERB = Verb(
    "models",
    "what can be named as a model, what is here, what needs a network",
    "Lists the models that come with sceneparse, recipes, this package's heads and the\n"
    "backbones they take, architectures and encoders of segmentation_models.pytorch,\n"
    "and published checkpoints; which of them have their weights in the hub's cache\n"
    "(HF_HUB_CACHE), and which need a network. Downloads nothing. Not every backbone\n"
    "has the strides that a head needs: train says so at once.",
    "examples:\n"
    "  sceneparse models\n"
    "  sceneparse models convnext\n"
    "  sceneparse models smp\n"
    "  sceneparse models ade --json models.json",
    _arguments,
    _models,
)
