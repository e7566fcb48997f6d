"""The benchmarks of speed on the processor, one after the other; fails at the end if one did.

    python benchmarks/run_all.py [NAME ...]        (make bench; under 15 minutes on two cores)

Every benchmark writes its own result file and is told to keep its time. One that misses its target fails, as
one that breaks does. Afterwards results_table.py and speed_plots.py bring tables and plots up to date.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
CAMVID = HERE.parents[1] / "shared" / "data" / "camvid"

COMMANDS: dict[str, tuple[str, ...]] = {
    "ceilings": (),
    "confusion": (),
    "loss": ("--seconds", "6"),
    "labels": ("--seconds", "5"),
    "augment": (),
    "evaluate": (),
    "forward": ("--seconds", "20"),
    "second_process": (),
    "train_step": (),
    "train_peers": (),
    "end_to_end": (),
}
"""By script, in this order, with arguments that keep all of them under a quarter of an hour."""

NEEDS_CAMVID = {"evaluate"}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {', '.join(COMMANDS)}")
    names = parser.parse_args().names or list(COMMANDS)
    if unknown := set(names) - set(COMMANDS):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    began, lines, failed = time.monotonic(), [], 0
    for name in names:
        if name in NEEDS_CAMVID and not CAMVID.is_dir():
            lines.append(f"{name:16}       left out: no CamVid at {CAMVID}")
            continue
        print(f"\n=== {name}", flush=True)
        start = time.monotonic()
        done = subprocess.run([sys.executable, HERE / f"{name}.py", *COMMANDS[name]], check=False)
        failed += done.returncode != 0
        said = "failed, or missed its target" if done.returncode else ""
        lines.append(f"{name:16}{time.monotonic() - start:5.0f} s {said}")
    print(f"\n=== all: {(time.monotonic() - began) / 60:.1f} minutes")
    print("\n".join(lines))
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
