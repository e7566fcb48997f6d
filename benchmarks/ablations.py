"""What does each choice of a recipe bring? Trains the variants of a study, all alike, and compares them.

    python benchmarks/ablations.py STUDY [--data CAMVID] [--out runs/ablations] [--only NAME ...]
                                   [--samples N] [--seeds 0,1,2] [--threads 1] [--jobs 1] [--hold-out 0006R0]
                                   [--use RUN ...]

Studies and variants are in ablation_variants.py. Every run is a process of its own, sceneparse train with
--samples pictures in all and one evaluation, after the last step: no run is judged by the best of several. A
run that is finished is not made again, one that was stopped or killed goes on, one that another process is at
is left to it; a changed setting makes a new folder. So rows can be made in any order, on several days.
The result file is written after every run and has every finished run of this study and budget, whatever
--only and --seeds name: rows may have different numbers of seeds.

--use RUN takes finished runs that were made apart, like the seeds of a recipe that is itself a row: their
settings must be those of a run of the study but for how often they were evaluated.

--hold-out SEQUENCE trains CamVid without the pictures whose names begin so and evaluates on them instead of
on val, which comes from a sequence that train holds too.

Writes results/ablations-STUDY_HARDWARE_DATE.json; results_table.py makes docs/ablations.md of it. Another
number of --samples than the study's is in the name: nothing of the study is written over.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from ablation_variants import BASE, STUDIES, Study, Variant
from finished_run import OF_THE_MACHINE, FinishedRun, changed_settings, finished_run, spread
from provenance import write_result

from sceneparse.config import RunConfig
from sceneparse.files import write_text
from sceneparse.lock import process_lock
from sceneparse.recipes import recipe
from sceneparse.settings import override

ROOT = Path(__file__).resolve().parents[1]
CAMVID = ROOT.parent / "shared" / "data" / "camvid"


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A run to be made.

    Args:
        variant: its name.
        config: all settings but those of data and machine.
        settings: what the command line changes of the recipe.
        folder: of the run.
    """

    variant: str
    config: RunConfig
    settings: dict[str, str]
    folder: Path

    def command(self, study: Study, data: str, out: str) -> list[str]:
        """Arguments of ``sceneparse``."""
        words = ["train", data, "--out", out, "--recipe", study.recipe, "--seed", str(self.config.seed)]
        return [
            *words,
            *(word for name, text in self.settings.items() for word in ("--set", f"{name}={text}")),
        ]


def variants_of(study: Study) -> dict[str, Variant]:
    """The base first."""
    return {BASE: Variant(what=study.base, settings={}), **study.variants}


def config_of(study: Study, variant: Variant, samples: int, seed: int) -> tuple[RunConfig, dict[str, str]]:
    """All settings of a run, and those in which it differs from the recipe.

    Raises:
        InputError: a setting that does not exist, or a wrong value.
    """
    settings = study.settings | variant.settings
    config = override(recipe(study.recipe), settings)
    steps = max(1, round(samples * variant.pictures) // config.images_per_step)
    settings |= {"steps": str(steps), "eval_every": str(steps), "samples": "0"}
    return replace(override(config, settings), epochs=None, seed=seed), settings


def seeds_in(out: Path) -> set[int]:
    """Of the runs in a folder."""
    found = (re.search(r"-seed(\d+)-", path.name) for path in out.glob("*-seed*-*"))
    return {int(match[1]) for match in found if match}


def plan(study: Study, names: Sequence[str], seeds: Sequence[int], samples: int, out: Path) -> list[Planned]:
    """The runs, one seed of every variant after the other."""
    planned = []
    for seed in seeds:
        for name in names:
            config, settings = config_of(study, variants_of(study)[name], samples, seed)
            folder = out / f"{name}-seed{seed}-{digest(config)}"
            planned.append(Planned(variant=name, config=config, settings=settings, folder=folder))
    return planned


def digest(config: RunConfig) -> str:
    """Of everything that makes a run what it is but the data."""
    plain = config.to_dict()
    for name in OF_THE_MACHINE:
        *parents, last = name.split(".")
        target = plain
        for parent in parents:
            target = target[parent]
        target.pop(last, None)
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:8]


def use(folder: Path, planned: Sequence[Planned]) -> None:
    """Put a finished run in the place of one with the same settings and seed."""
    run = finished_run(folder)
    if run is None:
        raise SystemExit(f"--use {folder}: no finished run")
    for one in planned:
        if _training(one.config) == _training(run.config):
            if finished_run(one.folder) is not None:
                return
            if one.folder.exists():
                raise SystemExit(
                    f"--use {folder}: a run that is not finished has its place; remove {one.folder}"
                )
            one.folder.parent.mkdir(parents=True, exist_ok=True)
            one.folder.symlink_to(folder.resolve(), target_is_directory=True)
            return
    raise SystemExit(f"--use {folder}: no run of this study has these settings and this seed")


def _training(config: RunConfig) -> tuple[str, int, dict[str, Any]]:
    """What a run is trained by; not how often it is evaluated."""
    changed = changed_settings(config)
    changed.pop("eval_every", None)
    return config.recipe, config.seed, changed


def without(data: Path, sequence: str, folder: Path) -> Path:
    """A dataset.yaml of CamVid's training pictures: those of a sequence are val, the others train."""
    names = sorted(path.stem for path in (data / "train").iterdir())
    held = [name for name in names if name.startswith(sequence)]
    if not held or len(held) == len(names):
        raise SystemExit(f"--hold-out {sequence}: {len(held)} of {len(names)} names in {data / 'train'}")
    folder.mkdir(parents=True, exist_ok=True)
    lists = {"train": [name for name in names if name not in set(held)], "val": held}
    said: dict[str, Any] = {"path": str(data.resolve()), "label_set": "camvid"}
    for split, chosen in lists.items():
        path = folder / f"{split}.txt"
        write_text(path, "".join(f"{name}\n" for name in chosen))
        said[split] = {"images": "train", "masks": "trainannot", "list": str(path.resolve())}
    write_text(folder / "dataset.yaml", yaml.safe_dump(said, sort_keys=False))
    return folder / "dataset.yaml"


def make(planned: Planned, study: Study, data: Path, options: argparse.Namespace) -> str:
    """Train what is not finished; says how it went."""
    if finished_run(planned.folder) is not None:
        return f"{planned.folder.name}: there"
    log = planned.folder.with_suffix(".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    words = planned.command(study, str(data), str(planned.folder))
    if (planned.folder / "config.yaml").is_file():
        words = ["train", str(data), "--out", str(planned.folder), "--resume"]
    command = [sys.executable, "-m", "sceneparse", *words, "--device", options.device]
    environment = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
    try:
        with (
            process_lock(planned.folder.with_suffix(".lock"), most_seconds=0),
            log.open("a", encoding="utf-8") as file,
        ):
            done = subprocess.run(command, stdout=file, stderr=file, env=environment, check=False)
    except TimeoutError:
        return f"{planned.folder.name}: another process is at it"
    run = finished_run(planned.folder)
    if run is None:
        return f"{planned.folder.name}: ended with {done.returncode}, see {log}"
    minutes = run.training_seconds / 60
    return f"{planned.folder.name}: mean IoU {run.rows[-1]['mean_iou']:.4f}, {minutes:.1f} minutes"


def row_of(
    variant: Variant, runs: Sequence[FinishedRun], base: dict[int, float], command: str
) -> dict[str, Any]:
    """What is recorded of a variant; the difference is that of runs with the same seed as one in ``base``."""
    scores = {run.config.seed: run.rows[-1]["mean_iou"] for run in runs}
    both = [seed for seed in scores if seed in base]
    return {
        "what": variant.what,
        "settings": variant.settings,
        "pictures": variant.pictures,
        "mean_iou": spread(scores.values()),
        "pixel_accuracy": spread(run.rows[-1]["pixel_accuracy"] for run in runs),
        "difference": spread(scores[seed] - base[seed] for seed in both) if both else None,
        "seeds": {str(seed): score for seed, score in scores.items()},
        "minutes": spread(run.training_seconds / 60 for run in runs),
        "machines": sorted({run.machine for run in runs}),
        "commits": sorted({commit for run in runs for commit in run.commits}),
        "command": command,
    }


def figures_of(study: Study, planned: Sequence[Planned], samples: int, split: str) -> dict[str, Any]:
    """What is recorded: every variant with a finished run."""
    finished: dict[str, list[FinishedRun]] = {}
    commands: dict[str, str] = {}
    for one in planned:
        run = finished_run(one.folder)
        if run is not None:
            finished.setdefault(one.variant, []).append(run)
            commands.setdefault(one.variant, shlex.join(["sceneparse", *one.command(study, "DATA", "RUN")]))
    base = {run.config.seed: run.rows[-1]["mean_iou"] for run in finished.get(BASE, [])}
    variants = variants_of(study)
    rows = {
        name: row_of(variants[name], runs, {} if name == BASE else base, commands[name])
        for name, runs in finished.items()
    }
    return {
        "title": study.title,
        "recipe": study.recipe,
        "about": study.about,
        "settings": study.settings,
        "samples": samples,
        "split": split,
        "rows": rows,
    }


def commands_again(
    options: argparse.Namespace, rows: dict[str, Any], names: Sequence[str], samples: int
) -> str:
    """What makes these rows: a command for the variants of each choice of seeds."""
    by_seeds: dict[str, list[str]] = {}
    for name, row in rows.items():
        by_seeds.setdefault(",".join(sorted(row["seeds"], key=int)), []).append(name)
    commands = []
    for seeds, variants in by_seeds.items():
        said = f"python benchmarks/ablations.py {options.study} --samples {samples} --seeds {seeds}"
        said += f" --hold-out {options.hold_out}" if options.hold_out else ""
        commands.append(said if variants == list(names) else f"{said} --only {' '.join(variants)}")
    return " && ".join(commands)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("--data", type=Path, default=CAMVID)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "ablations")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="of the variants, or base; default: all")
    parser.add_argument("--samples", type=int, help="pictures that a run sees")
    parser.add_argument("--seeds", default="0", help="with commas between")
    parser.add_argument("--threads", type=int, default=1, help="of a run")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--use", type=Path, nargs="+", default=[], metavar="RUN", help="finished run folders")
    parser.add_argument("--hold-out", metavar="SEQUENCE", help="a sequence of CamVid's training split")
    options = parser.parse_args()
    study = STUDIES[options.study]
    names = list(variants_of(study))
    if unknown := set(options.only or ()) - set(names):
        parser.error(f"no such variant: {', '.join(sorted(unknown))}; there are: {', '.join(names)}")
    samples, seeds = options.samples or study.samples, [int(seed) for seed in options.seeds.split(",")]
    what, split, data, out = f"ablations-{options.study}", "val", options.data, options.out / options.study
    if options.hold_out:
        what, split = f"{what}-{options.hold_out}", f"train's sequence {options.hold_out}, held out"
        out = out / options.hold_out
        data = without(options.data, options.hold_out, out / "data")
    if samples != study.samples:
        what = f"{what}-{samples}"

    def record() -> None:
        everything = plan(study, names, sorted(seeds_in(out)), samples, out)
        figures = figures_of(study, everything, samples, split)
        if figures["rows"]:
            repeat = commands_again(options, figures["rows"], names, samples)
            write_result(what, "Mean IoU of runs that differ in one choice.", figures, command=repeat)

    asked = plan(study, options.only or names, seeds, samples, out)
    for folder in options.use:
        use(folder, asked)
    left = [one for one in asked if finished_run(one.folder) is None]
    print(f"{len(asked) - len(left)} of {len(asked)} runs are finished", flush=True)
    record()
    with ThreadPoolExecutor(options.jobs) as pool:
        running = [pool.submit(make, one, study, data, options) for one in left]
        try:
            for done in as_completed(running):
                print(done.result(), flush=True)
                record()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return 0 if all(finished_run(one.folder) is not None for one in asked) else 1


if __name__ == "__main__":
    raise SystemExit(main())
