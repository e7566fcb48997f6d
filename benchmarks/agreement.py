"""Do the engines label as plain PyTorch in fp32 does, on every CamVid validation picture?

    python benchmarks/agreement.py RUN [--data ../shared/data/camvid] [--bfloat16 10]

For a trained network: the share of pixels whose class is that of ``engine="eager"``, over all pictures and in
the worst of them; and the network packed in bfloat16 on so many pictures, as processors that compute in it
have it (others go through it slowly). Writes results/agreement_HARDWARE_DATE.json.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from provenance import write_result

import sceneparse
from sceneparse.data.dataset import open_dataset
from sceneparse.data.pairs import Pair
from sceneparse.deploy.bundle import load_model
from sceneparse.prediction.folding import folded
from sceneparse.prediction.precision import packed_in
from sceneparse.prediction.predictor import Predictor

TARGET = 0.995
CAMVID = Path(__file__).resolve().parents[2] / "shared" / "data" / "camvid"


def in_bfloat16(model: Path) -> Predictor:
    network, bundle = load_model(model)
    small = folded(network)
    assert small is not None
    return Predictor(packed_in("bfloat16", small, (360, 480)), bundle, device="cpu")


def agreement(predictor: Predictor, plain: Predictor, pairs: Sequence[Pair]) -> dict[str, Any]:
    shares = [
        float((predictor(pair.image).labels == plain(pair.image).labels).mean(dtype=np.float64))
        for pair in pairs
    ]
    return {"pictures": len(shares), "share_that_agrees": float(np.mean(shares)), "worst": min(shares)}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, default=CAMVID)
    parser.add_argument("--bfloat16", type=int, default=10, metavar="PICTURES")
    options = parser.parse_args()
    pairs = open_dataset(options.data).split("val")
    plain = sceneparse.load(options.model, device="cpu", engine="eager")
    engines = ["auto", "compiled"] + (["openvino"] if importlib.util.find_spec("openvino") else [])
    found: dict[str, Any] = {}
    for engine in engines:
        predictor = sceneparse.load(options.model, device="cpu", engine=engine)
        found[engine] = agreement(predictor, plain, pairs) | {"computes": predictor.engine}
    if options.bfloat16:
        some = pairs[:: max(1, len(pairs) // options.bfloat16)]
        found["bfloat16"] = agreement(in_bfloat16(options.model), plain, some)
    for engine, row in found.items():
        print(
            f"{engine:10} {row['share_that_agrees']:.4%} of the pixels of {row['pictures']} pictures, "
            f"{row['worst']:.4%} of the worst"
        )
    write_result(
        "agreement",
        "Labels of the engines against those of plain PyTorch in fp32, trained network, CamVid val.",
        {"network": plain.bundle.architecture["name"], "engines": found, "target": TARGET},
    )
    return 0 if all(row["share_that_agrees"] >= TARGET for row in found.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
