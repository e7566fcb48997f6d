"""Write the table of recipes in docs/training.md from the headers of the recipes.

python benchmarks/recipes_table.py          (--check: exit 1 if it is not up to date)
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from quality_tables import table

from sceneparse.recipes import RECIPES, header, recipe

PAGE = Path(__file__).parent.parent / "docs" / "training.md"

BEGIN, END = "<!-- recipes: written by benchmarks/recipes_table.py -->", "<!-- end of recipes -->"


def recipes_table() -> str:
    """A row for each recipe; of each field its first sentence, the header has the rest."""
    titles = ("recipe", "data", "start", "hardware", "hours", "expected")
    fields = ("Hardware", "Hours", "Expected")
    rows = []
    for name in RECIPES:
        said = header(name)
        first = [re.split(r"\.\s", said[field])[0].rstrip(".") for field in fields]
        pretrained = recipe(name).model.init == "imagenet" or "--init imagenet" in said["Command"]
        rows.append([f"`{name}`", said["Data"], "ImageNet" if pretrained else "random", *first])
    return table(titles, rows)


def page(text: str) -> str:
    """The page with the table as it should be."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    assert after, f"{PAGE} has no place for the table"
    return f"{before}{BEGIN}\n{recipes_table()}\n{END}{after}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    text = PAGE.read_text(encoding="utf-8")
    wanted = page(text)
    if check and wanted != text:
        print(f"{PAGE.name} is out of date")
        return 1
    if not check:
        PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
