"""Does anything in a data set end in a traceback, hang, or take memory without end?

Takes sound data sets in every form of mask, damages one file of one of them at random (bytes, headers,
chunks, YAML, JSON, tables, encodings, links), checks the data set in a process with a limit on time and
memory, and counts what came of it: read, named as a fault, or neither, which is a failure. Every few cases
the same is done through the command line, with check and convert in turn. A case is a number and can be
repeated: ``--first N --cases 1``. Writes results/mutations_HARDWARE_DATE.json.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from provenance import write_result

sys.path.append(str(Path(__file__).parents[1] / "tests"))

CAMVID = Path(__file__).parents[2] / "shared" / "data" / "camvid"
EACH_SHOWN = 10


def main() -> int:
    from all_forms import ALL_FORMS, camvid_truth, small_truth
    from mutation_cases import (
        GOOD,
        LIMIT_BYTES,
        LIMIT_GROWN_MIB,
        LIMIT_S,
        run_cases,
        run_command,
        write_forms,
    )

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument(
        "--command-every", type=int, default=20, help="cases of which one goes through the CLI"
    )
    parser.add_argument("--camvid", type=Path, default=CAMVID, help="used if it is there")
    options = parser.parse_args()
    truths = {"small": small_truth()}
    if options.camvid.is_dir():
        truths["CamVid"] = camvid_truth(options.camvid, train=2, val=1)
    cases = range(options.first, options.first + options.cases)
    began = time.monotonic()
    results, wrong = [], []
    with tempfile.TemporaryDirectory(prefix="mutations_") as scratch:
        work = Path(scratch)
        write_forms(work / "command line", truths)
        (work / "out").mkdir()
        commands = 0
        for result in run_cases(cases, work / "cases", truths):
            results.append(result)
            if result.outcome not in GOOD:
                wrong.append(
                    f"case {result.case} ({result.form}, {result.file}, {result.kind}): "
                    f"{result.outcome}\n{result.told}"
                )
                print(wrong[-1], flush=True)
            if result.case % options.command_every in (0, options.command_every // 2 + 1):
                commands += 1
                named = result.outcome == "named"
                out = work / "out" / "plain"
                if said := run_command(result.case, work / "command line", out, named=named):
                    wrong.append(f"case {result.case}, command line: {said}")
                    print(wrong[-1], flush=True)
    seconds = time.monotonic() - began
    kinds = {r.kind for r in results}
    table = {kind: Counter(r.outcome for r in results if r.kind == kind) for kind in sorted(kinds)}
    print(f"{'damage':30}{'cases':>7}{'read':>7}{'named':>7}{'bad':>7}{'slowest s':>11}{'most MiB':>10}")
    for kind, counts in table.items():
        of_kind = [r for r in results if r.kind == kind]
        bad = sum(n for outcome, n in counts.items() if outcome not in GOOD)
        slowest, most = max(r.seconds for r in of_kind), max(r.grown_mib for r in of_kind)
        print(
            f"{kind:30}{len(of_kind):7}{counts['read']:7}{counts['named']:7}{bad:7}{slowest:11.2f}{most:10.0f}"
        )
    named = [r for r in results if r.outcome == "named"]
    told = f"{len(results)} cases in {seconds:.0f} s, {len(named)} named, "
    print(
        f"{told}{sum(r.itself for r in named)} of them by the damaged file or its picture; "
        f"{commands} through the command line; {len(wrong)} failures"
    )
    write_result(
        "mutations",
        "Of data sets with one file damaged at random, how many are read, named as faults, or end otherwise?",
        {
            "cases": len(results),
            "first_case": options.first,
            "data_sets": {name: len(ALL_FORMS) for name in truths},
            "outcomes": dict(Counter(r.outcome for r in results)),
            "by_damage": {kind: dict(counts) for kind, counts in table.items()},
            "named_by_the_file_itself": sum(r.itself for r in named),
            "through_the_command_line": commands,
            "failures": [text[:1000] for text in wrong],
            "slowest_s": round(max(r.seconds for r in results), 2),
            "most_grown_mib": {
                kind: round(max(r.grown_mib for r in results if r.kind == kind)) for kind in table
            },
            "limits": {"seconds": LIMIT_S, "grown_mib": LIMIT_GROWN_MIB, "address_space_bytes": LIMIT_BYTES},
            "wall_s": round(seconds),
        },
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
