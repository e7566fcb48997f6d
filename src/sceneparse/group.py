"""Processes that work together: who this one is, and the few things they tell each other.

Work on one device is a group of one, for which everything here does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, distributed

from sceneparse.errors import InputError

_Value = TypeVar("_Value")


@dataclass(frozen=True, kw_only=True)
class Group:
    """Place of this process among those that work together.

    Args:
        rank: 0 .. size - 1; process 0 writes the files and speaks.
        size: number of processes.
        local_rank: number on this machine, which is the number of its GPU.
        local_size: processes on this machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files and speaks."""
        return self.rank == 0

    @contextmanager
    def joined(self, meeting: Path | None = None) -> Iterator[None]:
        """Be connected to the others meanwhile; what is exchanged on GPUs goes by NCCL, all else by Gloo.

        Args:
            meeting: a file by which the processes of one machine find each other; None: the address that
                torchrun put into the environment.
        """
        if self.size == 1:
            yield
            return
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
            store=None if meeting is None else distributed.FileStore(str(meeting), self.size),
            rank=self.rank,
            world_size=self.size,
        )
        try:
            yield
        finally:
            distributed.destroy_process_group()

    def add_up(self, tensor: Tensor) -> Tensor:
        """Sum over the processes, element by element, in place; on the tensor's own device."""
        if self.size > 1:
            distributed.all_reduce(tensor)
        return tensor

    def highest(self, number: int) -> int:
        """The largest of the processes' numbers: none goes on where one wants to stop."""
        if self.size == 1:
            return number
        value = torch.tensor(int(number))
        distributed.all_reduce(value, distributed.ReduceOp.MAX)
        return int(value)

    def gathered(self, value: _Value) -> list[_Value]:
        """The value of every process, in order."""
        if self.size == 1:
            return [value]
        values: list[_Value] = [value] * self.size
        distributed.all_gather_object(values, value)
        return values

    @contextmanager
    def agreed(self) -> Iterator[None]:
        """What is wrong for one process ends all of them, and process 0 alone says it.

        Raises:
            InputError: on process 0; the others exit with the same code, 2.
        """
        mine: InputError | None = None
        try:
            yield
        except InputError as error:
            mine = error
        facts = None if mine is None else (mine.what, mine.where, mine.fix)
        first = next((told for told in self.gathered(facts) if told is not None), None)
        if first is None:
            return
        if not self.is_first:
            raise SystemExit(2)
        what, where, fix = first
        raise mine or InputError(what, where=where, fix=fix)


def torchrun_group() -> Group | None:
    """The group that torchrun has started this process in; None where it has not.

    Raises:
        InputError: its variables are not numbers.
    """
    if not {"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys():
        return None

    def number(name: str) -> int:
        text = os.environ[name]
        if not text.isdecimal():
            raise InputError(f"the environment says {name}={text!r}, expected a number", fix="use torchrun")
        return int(text)

    return Group(
        rank=number("RANK"),
        size=number("WORLD_SIZE"),
        local_rank=number("LOCAL_RANK"),
        local_size=number("LOCAL_WORLD_SIZE"),
    )


def is_first_process() -> bool:
    """Whether this process is the one that speaks: not so for all but one that torchrun starts."""
    group = torchrun_group()
    return group is None or group.is_first
