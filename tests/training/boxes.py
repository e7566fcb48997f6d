"""A data set of small pictures with a red and a blue box each."""

import numpy as np
from PIL import Image

CLASSES = ("ground", "red things", "[blue] things")
"""The brackets would vanish if messages were read as markup."""


def draw_data(root, *, train=8, val=3, seed=0):
    """Plain layout, pictures 48x64: a red and a blue box on a noisy ground, classes 0, 1, 2."""
    rng = np.random.default_rng(seed)
    for split, count in (("train", train), ("val", val)):
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(parents=True)
        for number in range(count):
            image = rng.integers(60, 120, (48, 64, 3), dtype=np.uint8)
            mask = np.zeros((48, 64), np.uint8)
            for label, channel in ((1, 0), (2, 2)):
                top, left = rng.integers(0, 24), rng.integers(0, 40)
                image[top : top + 20, left : left + 20, channel] += 120
                mask[top : top + 20, left : left + 20] = label
            Image.fromarray(image).save(root / "images" / split / f"s{number}.png")
            Image.fromarray(mask).save(root / "masks" / split / f"s{number}.png")
    (root / "classes.txt").write_text("\n".join(CLASSES) + "\n", encoding="utf-8")
    return root
