"""Layers without their random start, for weights that are about to be replaced."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import init
from torch.overrides import TorchFunctionMode

_DRAWS = frozenset(
    (
        *(Tensor.normal_, Tensor.uniform_, init.normal_, init.uniform_, init.trunc_normal_),
        *(init.kaiming_normal_, init.kaiming_uniform_, init.xavier_normal_, init.xavier_uniform_),
    )
)


class Undrawn(TorchFunctionMode):
    """A context in which drawing random numbers into a tensor leaves it as it is.

    The memory of weights that are not drawn is not even touched. Building on the device "meta" would do the
    same, but makes PyTorch load a compiler, which takes longer than drawing.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """``func`` of the arguments, unless it draws."""
        kwargs = kwargs or {}
        if func in _DRAWS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
