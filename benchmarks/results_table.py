"""Write the tables of README.md, docs/results.md and docs/ablations.md from the newest result files.

python benchmarks/results_table.py          (--check: exit 1 if they are not up to date)
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from provenance import machine, newest
from quality_tables import ablations, section, short_rows
from quality_tables import table as markdown

ROOT = Path(__file__).parent.parent

Figures = dict[str, Any]


def _demo(f: Figures) -> str:
    return (
        f"mean IoU {f['mean_iou']:.3f} on {f['images']} unseen scenes, colour alone "
        f"{f['colour_only_mean_iou']:.3f}; {f['seconds']:.0f} s in all"
    )


def _ade(f: Figures) -> str:
    return f"mean loss {f['loss_first_5']:.2f} (first 5 steps) to {f['loss_last_5']:.2f} (last 5)"


def _fcn(f: Figures) -> str:
    return f"largest difference {f['worst']:.1e} over {f['comparisons']} comparisons"


def _kills(f: Figures) -> str:
    equal = "bit-equal" if f["bit_equal"] else "NOT equal"
    saves = sum(kill["moment"] == "in a save" for kill in f["kills"])
    return f"{len(f['kills'])} kills, {saves} in the middle of a save: weights {equal}"


def _startup(f: Figures) -> str:
    return f"{f['second_start_s']:.1f} s to the first step (first start: {f['first_start_s']:.0f} s)"


def _check(f: Figures) -> str:
    return f"{f['ratio_of_best']:.2f} times the time of decoding alone ({f['check_best_s']:.1f} s)"


def _mutations(f: Figures) -> str:
    outcomes = f["outcomes"]
    bad = f["cases"] - outcomes["read"] - outcomes["named"]
    return (
        f"{outcomes['read']} read, {outcomes['named']} named, {bad} otherwise; slowest {f['slowest_s']:.0f} s"
    )


def _cache(f: Figures) -> str:
    return (
        f"images {f['ratio_images']:.1f}x as fast, with their full-size masks "
        f"{f['ratio_images_and_masks']:.1f}x; {f['mean_difference_levels']:.1f} grey levels apart"
    )


def _augment(f: Figures) -> str:
    return f"{f['samples_per_s']:,.0f} a second and core; the plain way {f['ratio']:.1f} times slower"


def _against_eager(f: Figures) -> str:
    ours = next(iter(f["cases"].values()))["ours"]
    return (
        f"{ours['times_faster']:.0f}x as fast as eager ({ours['ms']:.0f} ms), "
        f"{ours['times_less_memory']:.0f}x less extra memory"
    )


def _forward(f: Figures) -> str:
    sides = next(iter(f["cases"].values()))["sides"]
    ours = sides["Predictor, auto"]
    others = ", ".join(f"{name} {sides[name]['ms']:.0f} ms" for name in ("ONNX Runtime", "OpenVINO"))
    return f"{ours['times_faster']:.1f}x as fast as eager ({ours['ms']:.0f} ms); {others}"


def _train_step(f: Figures) -> str:
    case = next(iter(f["cases"].values()))
    return f"{case['times_faster']:.1f}x as fast as eager ({case['ours']['step_s']:.2f} s)"


def _evaluation(f: Figures) -> str:
    return f"{f['ratio']:.1f}x as fast as a plain loop ({f['ours_s']:.1f} s for {f['images']} pictures)"


def _confusion(f: Figures) -> str:
    rows = list(f["cases"].values())
    least = min(
        rows[0]["numpy.bincount"]["ours_times_faster"], rows[1]["numpy.bincount"]["ours_times_faster"]
    )
    return f"{rows[0]['ours']['ms']:.1f} and {rows[1]['ours']['ms']:.1f} ms, at least {least:.1f}x as fast"


def _end_to_end(f: Figures) -> str:
    train, predict = f["train"], f["predict"]
    waiting = f"{train['share_waiting_for_data']:.0%} of the time waiting for data"
    photo = f"predict {predict['ms_a_photo']:.0f} ms a photo after {predict['start_up_s']:.1f} s"
    return f"train {train['images_per_s_of_steps']:.1f} img/s, {waiting}; {photo}"


def _small_views(f: Figures) -> str:
    views = f["rows"]["base"]["views"]
    small, whole = views["small views"]["images_per_s"], views["whole views"]["images_per_s"]
    return f"{small / whole:.1f}x as many pictures a second as whole ones ({whole:.1f})"


ROWS: dict[str, tuple[str, Callable[[Figures], str]]] = {
    "demo": ("`sceneparse demo`, built-in scenes, from random weights", _demo),
    "ade20k_steps": ("FCN-8s VGG19, 150 classes, 20 steps on three ADE20K pictures", _ade),
    "compare_pytorch_fcn": ("logits against pytorch-fcn's, same random weights", _fcn),
    "kill_resume": ("kill -9 and `--resume` against the unbroken run", _kills),
    "check_speed": ("`sceneparse check` on CamVid, 468 pairs, against Pillow in two processes", _check),
    "mutations": ("2,000 data sets with one file damaged", _mutations),
    "cache_build": ("pixel cache from 12-megapixel JPEGs, against Pillow in two processes", _cache),
    "augment": ("augmented 224x224 samples, from cache to batch", _augment),
    "loss": ("loss and gradient, 150 classes, 4 x 512x512 from stride 8, fp32", _against_eager),
    "labels": ("labels of the same size from scores at stride 8", _against_eager),
    "forward": ("FCN-8s VGG19, 150 classes, 224x224, batch 1, `Predictor`, fp32", _forward),
    "train_step": ("training step FCN-8s VGG19, 151 classes, 224x224, batch 8, fp32", _train_step),
    "evaluate": ("evaluation of CamVid val, {network}", _evaluation),
    "step_costs-camvid-small": (
        "steps of `camvid-small` on the small views of its start",
        _small_views,
    ),
    "confusion": ("confusion matrix of 480x360, 11 classes, and 512x512, 150, against numpy", _confusion),
    "end_to_end": ("`train` and `predict` as whole processes, {network}, CamVid", _end_to_end),
    "startup": ("20,000 small pictures, second start", _startup),
}
"""By the name of the result: the title, in which {network} is what the result says, and the figure."""


def networks(f: Figures) -> str:
    """Whose figures these are."""
    found = [f["network"]] if "network" in f else [f[part]["network"] for part in ("train", "predict")]
    return " and ".join(f"`{name}`" for name in dict.fromkeys(found))


def table() -> str:
    """One row a question, those of the recipes after the demo."""
    rows: list[tuple[str, str, str, str]] = []
    for what, (title, say) in ROWS.items():
        result = newest(what)
        if result is not None:
            hardware = result["environment"]["hardware"]
            where = machine(hardware, hardware["cores"])
            figures = result["figures"]
            if "{network}" in title:
                title = title.format(network=networks(figures))
            rows.append((title, say(figures), where, result["command"]))
        if what == "demo":
            rows += short_rows()
    lines = ((title, figure, where, f"`{command}`") for title, figure, where, command in rows)
    return markdown(("what", "figure", "hardware", "command"), lines)


PAGES: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {"results": table},
    "docs/results.md": {
        "camvid": lambda: section("camvid"),
        "ade20k": lambda: section("ade20k"),
        "results": table,
    },
    "docs/ablations.md": {"ablations": ablations},
}
"""By page: what stands between which marks."""


def written(text: str, parts: dict[str, Callable[[], str]]) -> str:
    """A page with its tables as they are now."""
    for name, write in parts.items():
        begin, end = f"<!-- {name}: written by benchmarks/results_table.py -->", f"<!-- end of {name} -->"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise SystemExit(f"the marks of {name} are missing")
        text = f"{before}{begin}\n{write()}\n{end}{after}"
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    stale = []
    for name, parts in PAGES.items():
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        new = written(text, parts)
        if new != text:
            stale.append(path)
            if not arguments.check:
                path.write_text(new, encoding="utf-8")
    for path in stale:
        print(f"{'stale' if arguments.check else 'wrote'}: {path.relative_to(ROOT)}")
    return 1 if arguments.check and stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
