"""A command as torchrun starts it: two processes that find each other by their environment."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys

from sceneparse.cli import main


def under_torchrun(folder, line):
    """Exit codes and output of the two processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    outs = [folder / f"process{rank}.txt" for rank in (0, 1)]
    processes = [
        context.Process(target=_as_torchrun_does, args=(rank, port, out, line))
        for rank, out in enumerate(outs)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    return [process.exitcode for process in processes], [out.read_text(encoding="utf-8") for out in outs]


def _as_torchrun_does(rank, port, out, line):
    sys.stdout = sys.stderr = out.open("w", encoding="utf-8")
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_PORT": port}
    os.environ |= {name: str(number) for name, number in numbers.items()} | {"MASTER_ADDR": "127.0.0.1"}
    code = main(line)
    sys.stdout.flush()
    raise SystemExit(code)
