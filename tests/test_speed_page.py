"""docs/speed.md and its plots are those of the result files; a changed result makes them stale."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def plots(root, *arguments):
    return subprocess.run(
        [sys.executable, root / "benchmarks" / "speed_plots.py", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def copied(tmp_path):
    """The scripts, results and pages alone."""
    for folder in ("benchmarks", "docs"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_page_and_plots_are_those_of_the_result_files():
    done = plots(ROOT, "--check")
    assert done.returncode == 0, f"{done.stdout}{done.stderr}run python benchmarks/speed_plots.py"


def test_a_new_result_makes_table_and_plot_stale_until_they_are_drawn(copied):
    newest = max((copied / "benchmarks" / "results").glob("labels_*.json"))
    result = json.loads(newest.read_text(encoding="utf-8"))
    result["figures"]["cases"]["random scores"]["ours"] |= {"times_faster": 17.0, "ms": 47.0}
    later = newest.with_name(newest.name.replace(result["date"], "2999-01-01"))
    later.write_text(json.dumps(result), encoding="utf-8")
    done = plots(copied, "--check")
    assert done.returncode == 1
    assert done.stdout.split() == ["stale:", "docs/speed.md", "stale:", "docs/images/speed/ratios.svg"]

    assert plots(copied).returncode == 0
    assert plots(copied, "--check").returncode == 0
    assert "17x with random scores" in (copied / "docs" / "speed.md").read_text(encoding="utf-8")
    assert ">17x, asked 5x<" in (copied / "docs" / "images" / "speed" / "ratios.svg").read_text(
        encoding="utf-8"
    )


def test_all_benchmarks_of_make_bench_are_there_and_know_their_arguments():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        from run_all import COMMANDS, NEEDS_CAMVID
    finally:
        sys.path.pop(0)
    assert set(COMMANDS) >= NEEDS_CAMVID
    for name, arguments in COMMANDS.items():
        text = (ROOT / "benchmarks" / f"{name}.py").read_text(encoding="utf-8")
        for argument in arguments:
            assert not argument.startswith("--") or f'"{argument}"' in text, f"{name}: {argument}"
    assert re.search(r"^bench:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def test_plots_have_both_colour_schemes_and_no_others():
    for path in (ROOT / "docs" / "images" / "speed").glob("*.svg"):
        svg = path.read_text(encoding="utf-8")
        drawing = svg[svg.index("</style>") :]
        assert "prefers-color-scheme:dark" in svg
        named = set(re.findall(r"var\(--(\w+)\)", drawing))
        assert {"card", "ink", "ours"} <= named
        for role in named:
            assert svg[: svg.index("</style>")].count(f"--{role}:#") == 2, f"{path.name}: {role}"
        assert not re.search(r"(fill|stroke): ?#", drawing), path.name
