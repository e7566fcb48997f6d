"""Are our logits those of pytorch-fcn for the same weights and image?

Fills the networks of a clone of https://github.com/wkentaro/pytorch-fcn with random weights, saves their
state dicts, loads them through ``sceneparse.models.load_weights`` into networks with ``padding="reference"``,
and compares the logits at several sizes. No code of that repository is part of this one. Needs about 3 GB of
memory.

    git clone https://github.com/wkentaro/pytorch-fcn
    python benchmarks/compare_pytorch_fcn.py --reference pytorch-fcn

Prints a table, writes benchmarks/results/compare_pytorch_fcn_<hardware>_<date>.json, and exits 1 above 1e-4.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
import types
from pathlib import Path

import torch
from provenance import write_result
from torch import nn

from sceneparse.models import ModelOptions, build_model, load_weights
from sceneparse.models.fcn import AT_ONCE_SCALES

MODELS = Path(__file__).parents[1] / "src" / "sceneparse" / "models"
LIMIT = 1e-4
CLASSES = 21
SIZES_HW = ((1, 1), (33, 65), (97, 130), (224, 224), (251, 187))
NETWORKS = {  # class in pytorch-fcn: (our name, trained at once)
    "FCN32s": ("fcn32s-vgg16", False),
    "FCN16s": ("fcn16s-vgg16", False),
    "FCN8s": ("fcn8s-vgg16", False),
    "FCN8sAtOnce": ("fcn8s-vgg16", True),
}


def reference_models(clone: Path) -> types.ModuleType:
    """torchfcn.models of the clone alone: the package around it imports data set readers."""
    sys.modules["fcn"] = types.ModuleType("fcn")  # used there for downloads only
    folder = clone / "torchfcn" / "models"
    spec = importlib.util.spec_from_file_location(
        "torchfcn_models", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["torchfcn_models"] = module
    spec.loader.exec_module(module)
    return module


@torch.no_grad()
def randomize(network: nn.Module, at_once: bool) -> None:
    """Weights that keep activations and logits of order 1: 1e-4 is then a fair limit and every layer matters.

    The reference starts with zeros (convolutions) and one-channel bilinear kernels; with those, a missing
    layer or two swapped channels would not show.
    """
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            gain = 1.0 if name.startswith("score") else 2.0
            module.weight.normal_(0, (gain / fan_in) ** 0.5)
            module.bias.normal_(0, 0.1)
        elif isinstance(module, nn.ConvTranspose2d):
            module.weight.add_(torch.randn_like(module.weight) * 0.02 / module.kernel_size[0])
    if at_once:  # the skips are scaled down: scale their scores up, or they would hide below the limit
        network.score_pool4.weight.div_(AT_ONCE_SCALES[16])
        network.score_pool3.weight.div_(AT_ONCE_SCALES[8])


@torch.no_grad()
def compare(reference: nn.Module, name: str, at_once: bool, folder: Path) -> list[dict[str, object]]:
    """Largest absolute difference of the logits at each size, beside their deviation."""
    randomize(reference, at_once)
    weights = folder / "weights.pth"
    torch.save(reference.state_dict(), weights)
    ours = build_model(name, CLASSES, ModelOptions(padding="reference", at_once=at_once))
    report = load_weights(ours, weights)
    weights.unlink()
    if report.remade or report.unused:
        raise SystemExit(f"not everything was loaded:\n{report}")
    reference.eval()
    ours.eval()
    rows = []
    for size_hw in SIZES_HW:
        image = torch.randn(1, 3, *size_hw)
        expected, found = reference(image), ours(image)
        if expected.shape != found.shape:
            raise SystemExit(
                f"{name} at {size_hw}: shape {tuple(found.shape)}, expected {tuple(expected.shape)}"
            )
        rows.append(
            {
                "size_hw": size_hw,
                "max_difference": float((expected - found).abs().max()),
                "logits_rms": float(expected.pow(2).mean().sqrt()),
            }
        )
    return rows


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", folder, *arguments], capture_output=True, text=True, check=False
    ).stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--reference", type=Path, required=True, help="folder of a clone of wkentaro/pytorch-fcn"
    )
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    models = reference_models(arguments.reference)

    results: dict[str, list[dict[str, object]]] = {}
    print(f"{'network':12} {'size':>9} {'max |difference|':>17} {'rms of logits':>14}")
    with tempfile.TemporaryDirectory() as folder:
        for reference_name, (name, at_once) in NETWORKS.items():
            reference = getattr(models, reference_name)(CLASSES)
            results[reference_name] = compare(reference, name, at_once, Path(folder))
            for row in results[reference_name]:
                size = "x".join(map(str, row["size_hw"]))
                print(
                    f"{reference_name:12} {size:>9} {row['max_difference']:17.2e} {row['logits_rms']:14.3f}"
                )
    worst = max(row["max_difference"] for rows in results.values() for row in rows)
    passed = worst <= LIMIT
    print(f"largest difference {worst:.2e}, limit {LIMIT:g}: {'passed' if passed else 'FAILED'}")

    figures = {
        "passed": passed,
        "limit": LIMIT,
        "worst": worst,
        "comparisons": sum(len(rows) for rows in results.values()),
        "results": results,
        "classes": CLASSES,
        "seed": arguments.seed,
        "threads": torch.get_num_threads(),
        "reference_commit": git(arguments.reference, "rev-parse", "HEAD"),
    }
    write_result(
        "compare_pytorch_fcn",
        "largest difference of logits, ours against pytorch-fcn, same random weights and image",
        figures,
        command="python benchmarks/compare_pytorch_fcn.py --reference pytorch-fcn",
    )
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
