"""Operators of ``torch.ops.sceneparse``: functions on the processor that PyTorch exports as one step.

``torch.library.custom_op`` is the same, but its first call loads PyTorch's compiler, which takes longer than
all else between the start of a process and its first labels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

_LIBRARY = torch.library.Library("sceneparse", "FRAGMENT")


class Operator:
    """A function that is registered as an operator; called like the function, without a gradient.

    Args:
        function: of tensors on the CPU and plain values; its annotations say which. Changes none of them.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.__doc__ = function.__doc__
        self._name = function.__name__
        _LIBRARY.define(self._name + torch.library.infer_schema(function, mutates_args=()))
        _LIBRARY.impl(self._name, function, "CPU")
        self._call = getattr(torch.ops.sceneparse, self._name).default

    def __call__(self, *arguments: Any) -> Any:
        """What the function returns."""
        return self._call(*arguments)

    def register_fake(self, like: Callable[..., Any]) -> Callable[..., Any]:
        """``like`` gives a result of the right shape for tensors without values; a decorator."""
        torch.library.register_fake(f"sceneparse::{self._name}", like, lib=_LIBRARY)
        return like
