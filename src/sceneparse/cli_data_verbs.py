"""The verbs about data sets: their arguments, their help pages, and what each calls."""

from __future__ import annotations

from sceneparse.cli_verb import Verb

DATA_VERBS: tuple[Verb, ...] = ()
