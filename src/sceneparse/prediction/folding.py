"""A network with what only training needs folded away: batch norm into convolutions, dropout gone.

The network is traced (``torch.fx``) to a graph of single layers, and the graph rewritten. What cannot be
traced stays as it is: right, but slower.
"""

from __future__ import annotations

import copy
import operator
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from sceneparse.models import Network
from sceneparse.prediction.affine import Affine, affine_after, remove_affine
from sceneparse.prediction.rewritten import Rewritten, geometry_of

TRACING = threading.Lock()
"""Whoever traces, PyTorch's compiler too, changes what a call of any module of the process does. Two at once
put back each other's changes, and no module works any more."""

_NOTHING = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.Identity)
"""Layers without effect in evaluation mode."""

_DROPOUTS = (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout)


class _Scores(nn.Module):
    """The scores of padded images as the whole of a module."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = copy.copy(network)
        # Padding decides by the size of the image, which no graph can hold; it is done before.
        self.network._padded = _as_it_is  # type: ignore[method-assign]

    def forward(self, images: Tensor) -> Tensor:
        return self.network.scores(images)


def _as_it_is(images: Tensor) -> Tensor:
    return images


def folded(network: Network) -> Rewritten | None:
    """The network in evaluation mode, folded; shares with ``network``, which stays as it is, what is not
    changed.

    Equal to the network up to the rounding of float32.

    Returns:
        None for a network whose way from scores to logits is of no known kind.
    """
    geometry = geometry_of(network)
    if geometry is None:
        return None
    kernel = network.upsampling((1, 1)).kernel
    return Rewritten(_folded(_Scores(network).eval()), geometry, kernel).eval()


class _Between(nn.Module):
    def __init__(self, body: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.body, self.dtype = body, dtype

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.body(images.to(self.dtype))
        return scores.float()


def between(network: Rewritten, dtype: torch.dtype) -> Rewritten:
    """A network whose body already computes in ``dtype``, as one that takes and gives float32.

    The last upsampling stays in float32: it decides between classes that lie close together.
    """
    assert isinstance(network.body, nn.Module)
    return Rewritten(_Between(network.body, dtype), network.geometry, network.kernel).eval()


class _Tracer(fx.Tracer):
    """While a network is traced, calls and attributes of every module of the process come here: those of
    other threads go on as if there were no tracing.
    """

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if threading.get_ident() != self._thread:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        if threading.get_ident() != self._thread:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        # timm's convolutions that pad by the size of their input cannot be looked into.
        return isinstance(m, nn.Conv2d) or super().is_leaf_module(m, module_qualified_name)


def traced(module: nn.Module) -> fx.GraphModule | None:
    """The graph of a module; None where it decides by values, sizes or what else a graph cannot hold."""
    try:
        with TRACING:
            return fx.GraphModule(module, _Tracer().trace(module))
    except Exception:  # code of any kind runs here on stand-ins, and may fail in any way
        return None


def _folded(module: nn.Module) -> nn.Module:
    body = traced(module)
    if body is None:
        return _copied(module)
    _drop_what_does_nothing(body)
    for before, conv in own_convolutions(body).items():
        (node,) = before.users
        norm = _batch_norm(body, node)
        if norm is not None:
            set_module(body, str(before.target), _with_norm(conv, norm))
            node.replace_all_uses_with(before)
            body.graph.erase_node(node)
    for before, conv in own_convolutions(body).items():
        affine = affine_after(body, before)
        if affine is not None:
            set_module(body, str(before.target), _with_affine(conv, affine))
            remove_affine(body, before, affine)
    tidied(body)
    return body


def tidied(body: fx.GraphModule) -> None:
    """Layers and constants that nothing uses any more go, with their memory; the code is made anew."""
    body.graph.eliminate_dead_code()
    body.delete_all_unused_submodules()
    used = {str(node.target) for node in body.graph.nodes if node.op == "get_attr"}
    for name in [*dict(body.named_parameters()), *dict(body.named_buffers())]:
        holder, _, attribute = name.rpartition(".")
        owner = body.get_submodule(holder)
        if name not in used and type(owner) is nn.Module:  # a bare holder of a constant, no layer
            delattr(owner, attribute)
    body.graph.lint()
    body.recompile()


def _copied(module: nn.Module) -> nn.Module:
    """A module of its own over the same parameters and buffers."""
    shared = {id(t): t for t in (*module.parameters(), *module.buffers())}
    return copy.deepcopy(module, shared)


def set_module(body: nn.Module, name: str, module: nn.Module) -> None:
    """Put ``module`` in the place of the layer ``name``."""
    holder, _, attribute = name.rpartition(".")
    setattr(body.get_submodule(holder), attribute, module)


def own_convolutions(body: fx.GraphModule) -> dict[fx.Node, nn.Conv2d]:
    """Plain convolutions that are used once and whose result goes to one place, in order."""
    used = Counter(node.target for node in body.graph.nodes if node.op == "call_module")
    found = {}
    for node in body.graph.nodes:
        if node.op == "call_module" and used[node.target] == 1 and len(node.users) == 1:
            layer = body.get_submodule(str(node.target))
            if type(layer) is nn.Conv2d:
                found[node] = layer
    return found


def _drop_what_does_nothing(body: fx.GraphModule) -> None:
    for node in list(body.graph.nodes):
        nothing = (
            isinstance(body.get_submodule(str(node.target)), _NOTHING)
            if node.op == "call_module"
            else node.op == "call_function" and node.target in _DROPOUTS and not node.kwargs.get("training")
        )
        if nothing:
            node.replace_all_uses_with(node.args[0])
            body.graph.erase_node(node)
        elif node.op == "call_function" and node.target is torch._assert:  # of shapes, which hold here
            body.graph.erase_node(node)
    body.graph.eliminate_dead_code()


class _Norm(NamedTuple):
    """Batch norm in evaluation mode, however it was called."""

    mean: Tensor
    variance: Tensor
    weight: Tensor | None
    bias: Tensor | None
    eps: float


def _batch_norm(body: fx.GraphModule, node: fx.Node) -> _Norm | None:
    """What a node normalizes by; None: it is no batch norm with fixed statistics."""
    if node.op == "call_module":
        layer = body.get_submodule(str(node.target))
        if type(layer) is nn.BatchNorm2d and layer.running_mean is not None and layer.running_var is not None:
            return _Norm(layer.running_mean, layer.running_var, layer.weight, layer.bias, layer.eps)
        return None
    if node.op != "call_function" or node.target is not F.batch_norm:
        return None
    names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    given = dict(zip(names, node.args, strict=False)) | node.kwargs
    if given.get("training") or given.get("running_mean") is None:
        return None
    tensors = [_constant(body, given.get(name)) for name in names[1:5]]
    assert tensors[0] is not None
    assert tensors[1] is not None
    return _Norm(tensors[0], tensors[1], tensors[2], tensors[3], float(given.get("eps", 1e-5)))  # type: ignore[arg-type]


def _constant(body: fx.GraphModule, value: object) -> Tensor | None:
    if not isinstance(value, fx.Node):
        return None
    assert value.op == "get_attr", "statistics that are computed"
    found: Tensor = operator.attrgetter(str(value.target))(body)
    return found


def _with_norm(conv: nn.Conv2d, norm: _Norm) -> nn.Conv2d:
    weight, bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, norm.mean, norm.variance, norm.eps, norm.weight, norm.bias
    )
    return convolution_like(conv, weight, bias)


@torch.no_grad()
def _with_affine(conv: nn.Conv2d, affine: Affine) -> nn.Conv2d:
    bias = conv.weight.new_zeros(conv.out_channels) if conv.bias is None else conv.bias
    return convolution_like(conv, affine.scale * conv.weight, affine.scale * bias + affine.shift)


@torch.no_grad()
def convolution_like(conv: nn.Conv2d, weight: Tensor, bias: Tensor | None) -> nn.Conv2d:
    """The convolution with another weight and bias."""
    made: nn.Conv2d = copy.copy(conv)
    made._parameters = {
        "weight": nn.Parameter(weight.detach(), requires_grad=False),
        "bias": None if bias is None else nn.Parameter(bias.detach(), requires_grad=False),
    }
    return made.eval()
