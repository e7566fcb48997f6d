"""What the README says exists, and its tables are those of the result files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from sceneparse.cli import parse
from sceneparse.recipes import RECIPES

ROOT = Path(__file__).parents[1]


def test_the_two_commands_are_targets():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for command in ("demo", "test"):
        assert f"make {command}" in readme
        assert re.search(rf"^{command}:", makefile, re.MULTILINE)


def test_commands_in_the_pages_parse():
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    lines = [
        line.strip().removeprefix("$ ")
        for page in pages
        for line in page.read_text(encoding="utf-8").splitlines()
        if line.strip().startswith("$ sceneparse ")
    ]
    assert lines
    for line in lines:
        parse(line.split()[1:])
        named = re.search(r"--recipe (\S+)", line)
        assert named is None or named.group(1) in RECIPES


def test_pictures_and_pages_that_are_linked_exist():
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_tables_are_those_of_the_result_files():
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "results_table.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}run python benchmarks/results_table.py"
