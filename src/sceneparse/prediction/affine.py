"""A learned scale and shift behind a convolution or its ReLU, as in HGNetV2, folded into the convolution.

With s > 0 is ``s * relu(x) + t = max(s * x + t, t)``: the convolution scaled and shifted, cut off below at t.
"""

from __future__ import annotations

import math
import operator
from typing import NamedTuple

from torch import Tensor, fx, nn


class Affine(NamedTuple):
    """What follows a convolution: ``scale * relu(x) + shift``, or the same without the ReLU.

    Args:
        nodes: all of it, the first first.
        relu: whether there is a ReLU.
        scale: the factor; above 0 where there is a ReLU.
        shift: what is added.
    """

    nodes: tuple[fx.Node, ...]
    relu: bool
    scale: float
    shift: float


def affine_after(body: fx.GraphModule, conv: fx.Node) -> Affine | None:
    """The scale and shift behind a convolution whose result goes to one place; None where there are none."""
    nodes = [conv]
    first = _only_user(conv)
    relu = (
        first is not None
        and first.op == "call_module"
        and type(body.get_submodule(str(first.target))) is nn.ReLU
    )
    if relu and first is not None:
        nodes.append(first)
    numbers = []
    for operation in (operator.mul, operator.add):
        node = _only_user(nodes[-1])
        number = None if node is None else _number(body, node, operation, nodes[-1])
        if node is None or number is None:
            return None
        nodes.append(node)
        numbers.append(number)
    scale, shift = numbers
    return None if relu and scale <= 0 else Affine(tuple(nodes[1:]), relu, scale, shift)


def remove_affine(body: fx.GraphModule, conv: fx.Node, affine: Affine) -> None:
    """Leave of it only the cut where there was a ReLU; the convolution does the rest from now on."""
    result = conv
    if affine.relu:
        name = f"{str(conv.target).replace('.', '_')}_cut"
        body.add_submodule(name, nn.Hardtanh(affine.shift, math.inf, inplace=True))
        with body.graph.inserting_before(affine.nodes[-1]):
            result = body.graph.call_module(name, (conv,))
    affine.nodes[-1].replace_all_uses_with(result)
    for node in reversed(affine.nodes):
        body.graph.erase_node(node)


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _number(body: fx.GraphModule, node: fx.Node, operation: object, other: fx.Node) -> float | None:
    """The single number that ``operation`` joins with ``other``."""
    if node.op != "call_function" or node.target is not operation or node.kwargs or len(node.args) != 2:
        return None
    first, second = node.args
    constant = first if second is other else second
    if not isinstance(constant, fx.Node) or constant.op != "get_attr":
        return None
    found: Tensor = operator.attrgetter(str(constant.target))(body)
    return found.item() if isinstance(found, Tensor) and found.numel() == 1 else None
