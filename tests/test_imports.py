"""Imports go one way only (docs: the way of the data), read from the source without running it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import sceneparse

SOURCE = Path(sceneparse.__file__).parent

LAYERS = (
    (
        "errors",
        "settings",
        "files",
        "lock",
        "outputs",
        "kernels",
        "environment",
        "memory",
        "devices",
        "group",
        "launch",
    ),
    ("labels", "labelsets", "normalization"),
    ("data", "models"),
    ("config",),
    ("recipes",),
    ("evaluation",),
    ("deploy",),
    ("prediction",),
    ("report",),
    ("training",),
    ("api", "catalogue"),
    ("demo",),
    (
        "cli_types",
        "cli_verb",
        "cli_arguments",
        "cli_data_verbs",
        "cli_score_verbs",
        "cli_models_verb",
        "cli_verbs",
        "cli",
        "__main__",
    ),
)
"""From the bottom up. A part may import those below it, and within its layer only itself, but for the lowest
and the highest layer."""

APART = (
    ("data", "models"),
    ("prediction", "training"),
    ("evaluation", "prediction"),
    ("evaluation", "deploy"),
)
HEAVY = ("torch", "lightning", "timm", "matplotlib", "scipy", "torchmetrics", "torchvision", "numpy", "PIL")


def modules() -> list[str]:
    files = [p.relative_to(SOURCE) for p in SOURCE.rglob("*.py")]
    return sorted(".".join(("sceneparse", *p.with_suffix("").parts)).removesuffix(".__init__") for p in files)


def file_of(module: str) -> Path:
    path = SOURCE.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imports_of(module: str) -> set[str]:
    """Every module that a file imports anywhere, as dotted names."""
    found = set()
    for node in ast.walk(ast.parse(file_of(module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def part(name: str) -> str:
    """``sceneparse.data.cache.PixelCache`` is of the part ``data``."""
    return name.split(".")[1] if "." in name else "sceneparse"


def layer(name: str) -> int:
    return next(i for i, parts in enumerate(LAYERS) if part(name) in parts)


MODULES = [m for m in modules() if m != "sceneparse"]


def test_every_module_has_a_layer():
    assert len(MODULES) > 50
    assert {part(m) for m in MODULES} - {p for parts in LAYERS for p in parts} == set()


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down(module):
    for name in imports_of(module):
        if name.split(".")[0] != "sceneparse" or part(name) == part(module):
            continue
        if part(name) not in {p for parts in LAYERS for p in parts}:
            assert name == "sceneparse.__version__", f"{module} imports {name} from the top"
            continue
        same = layer(name) == layer(module)
        free = layer(module) in (0, len(LAYERS) - 1)
        assert layer(name) < layer(module) or (same and free), f"{module} imports {name}"
        for one, other in APART:
            assert (part(module), part(name)) not in {(one, other)}, f"{module} imports {name}"


def reached_from(start: str) -> set[str]:
    """Modules of sceneparse and others that importing ``start`` could bring in, also inside functions."""
    seen: set[str] = set()
    todo = [m for m in MODULES if m == start or m.startswith(start + ".")]
    known = set(MODULES)
    while todo:
        module = todo.pop()
        if module in seen:
            continue
        seen.add(module)
        for name in imports_of(module):
            seen.add(name.split(".")[0])
            todo += [m for m in (name, name.rpartition(".")[0]) if m in known]
    return seen


def test_data_and_models_do_not_know_each_other():
    assert not [m for m in reached_from("sceneparse.data") if m.startswith("sceneparse.models")]
    assert not [m for m in reached_from("sceneparse.models") if m.startswith("sceneparse.data")]


def test_prediction_needs_neither_lightning_nor_training():
    reached = reached_from("sceneparse.prediction")
    assert "sceneparse.models.fcn" in reached
    assert not [m for m in reached if m.startswith(("lightning", "sceneparse.training", "sceneparse.report"))]


def loaded_after(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize(
    "code", ["import sceneparse", "from sceneparse.cli import build_parser; build_parser()"]
)
def test_command_line_waits_for_nothing_heavy(code):
    assert loaded_after(code) & set(HEAVY) == set()


def test_predictor_does_not_load_lightning():
    assert (
        loaded_after("import sceneparse; sceneparse.load") & {"lightning", "matplotlib", "tensorboard"}
        == set()
    )


def test_public_names():
    for name in sceneparse.__all__:
        assert getattr(sceneparse, name) is not None
    assert not hasattr(sceneparse, "no_such_name")
