"""A folded network whose convolutions have their weights laid out for the processor once, not at each call.

PyTorch's own convolution lays the weights out anew at every call where oneDNN wants them otherwise than they
are stored: for fc6 of VGG, 411 MB of them, that is half of the time of a picture. Here each convolution gets
the code that is fastest for the size of its maps, with the activation behind it in the same pass.

Shapes: B batch, C, K channels in and out, H,W image, h,w map.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from sceneparse.kernels import fourier, winograd
from sceneparse.prediction.folding import own_convolutions, set_module, tidied
from sceneparse.prediction.rewritten import Rewritten


class Activation(NamedTuple):
    """What follows a convolution, as oneDNN calls it.

    Args:
        name: "none" for nothing.
        numbers: its parameters.
        algorithm: which of its forms, where it has several.
    """

    name: str = "none"
    numbers: tuple[float, ...] = ()
    algorithm: str = ""


_RELU = Activation("relu")

KEPT_SIZES = 2
"""Layouts of a weight that are kept: wide and tall pictures of a camera."""

_OF_LAYERS: dict[type[nn.Module], Callable[[Any], Activation]] = {
    nn.ReLU: lambda layer: _RELU,
    nn.SiLU: lambda layer: Activation("swish"),
    nn.Hardswish: lambda layer: Activation("hardswish"),
    nn.Hardsigmoid: lambda layer: Activation("hardsigmoid"),
    nn.Sigmoid: lambda layer: Activation("sigmoid"),
    nn.Tanh: lambda layer: Activation("tanh"),
    nn.ReLU6: lambda layer: Activation("hardtanh", (0.0, 6.0)),
    nn.Hardtanh: lambda layer: Activation("hardtanh", (layer.min_val, layer.max_val)),
    nn.LeakyReLU: lambda layer: Activation("leaky_relu", (layer.negative_slope,)),
}

_RELU_FUNCTIONS = (F.relu, torch.relu, F.relu_, torch.relu_)


class OneDNNConvolution(nn.Module):
    """A convolution with its weight in oneDNN's own layout, and what follows it.

    Which layout is best depends on the size of the map, and another one is brought into it at each call, at
    several times the cost of the convolution: it is made once for each of the last sizes that came.

    Args:
        conv: the plain one, on the CPU, padded with zeros by a number of pixels.
        activation: behind it.
        input_hw: usual size of its input; None: not known.
    """

    def __init__(self, conv: nn.Conv2d, activation: Activation, input_hw: tuple[int, int] | None) -> None:
        super().__init__()
        assert not isinstance(conv.padding, str)
        self.padding, self.stride, self.dilation = map(list, (conv.padding, conv.stride, conv.dilation))
        self.groups = conv.groups
        self.activation = activation
        self.plain = conv.weight.detach()
        self.bias = None if conv.bias is None else conv.bias.detach()
        # No buffers: these layouts are known to oneDNN only, and cannot be moved, saved or converted.
        self._laid_out: dict[tuple[int, ...], Tensor] = {}
        if input_hw is not None:
            self._weight((1, conv.in_channels, *input_hw))

    def _weight(self, shape: tuple[int, ...]) -> Tensor:
        """The weight as it suits an input of this shape."""
        found = self._laid_out.get(shape)
        if found is None:
            found = torch.ops.mkldnn._reorder_convolution_weight(
                self.plain, self.padding, self.stride, self.dilation, self.groups, list(shape)
            )
            # Several threads may be here at once: a new table each time, none is changed.
            kept = list(self._laid_out.items())[-(KEPT_SIZES - 1) :]
            self._laid_out = dict([*kept, (shape, found)])
        return found

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, K, h, w)."""
        return torch.ops.mkldnn._convolution_pointwise(
            x,
            self._weight(tuple(x.shape)),
            self.bias,
            self.padding,
            self.stride,
            self.dilation,
            self.groups,
            *self.activation,
        )


class WinogradConvolution(nn.Module):
    """A 3x3 convolution by our own code, see :mod:`sceneparse.kernels.winograd`.

    Args:
        conv: the plain one, float32, on the CPU.
        relu: whether a ReLU follows it.
    """

    packed: Tensor
    bias: Tensor | None

    def __init__(self, conv: nn.Conv2d, relu: bool) -> None:
        super().__init__()
        self.out_channels, self.relu = conv.out_channels, relu
        self.register_buffer("packed", winograd.packed(conv.weight.detach()))
        self.register_buffer("bias", None if conv.bias is None else conv.bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, K, H, W)."""
        return winograd.conv3x3(x, self.packed, self.bias, self.out_channels, self.relu)


class FourierConvolution(nn.Module):
    """A 7x7 convolution by our own code, see :mod:`sceneparse.kernels.fourier`.

    Args:
        conv: the plain one, float32, on the CPU.
        relu: whether a ReLU follows it.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, conv: nn.Conv2d, relu: bool) -> None:
        super().__init__()
        assert isinstance(conv.padding[0], int)
        self.padding, self.relu = conv.padding[0], relu
        self.register_buffer("weight", conv.weight.detach().permute(0, 2, 3, 1).contiguous())
        self.register_buffer("bias", None if conv.bias is None else conv.bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, K, h, w)."""
        y: Tensor = fourier.conv7x7(x, self.weight, self.bias, self.padding)
        return y.relu_() if self.relu else y


def can_pack(dtype: torch.dtype) -> bool:
    """Whether this PyTorch and this processor have what :class:`OneDNNConvolution` calls."""
    if not (torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled):
        return False
    layout = getattr(torch.ops.mkldnn, "_reorder_convolution_weight", None)
    compute = getattr(torch.ops.mkldnn, "_convolution_pointwise", None)
    if layout is None or compute is None:
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype == torch.float32


def packed(network: Rewritten, size_hw: tuple[int, int]) -> Rewritten:
    """A folded network packed for the processor.

    Args:
        network: of :func:`~sceneparse.prediction.folding.folded`, on the CPU, of one dtype; its graph is
            rewritten, and its weights let go of as they are packed.
        size_hw: usual size of its input, normalized images (B, 3, H, W). Others are right too.
    """
    assert isinstance(network.body, nn.Module)
    body = with_packed(network.body, network.geometry.padded(size_hw), onednn=can_pack(_dtype(network.body)))
    return Rewritten(body, network.geometry, network.kernel).eval()


@torch.no_grad()
def with_packed(body: nn.Module, size_hw: tuple[int, int], *, onednn: bool) -> nn.Module:
    """``body``, rewritten, with its convolutions by the fastest code.

    Args:
        body: of a folded network.
        size_hw: usual size of its input, padded images.
        onednn: also oneDNN's, without which PyTorch's own stay.
    """
    sizes = _input_sizes(body, size_hw)

    def best(conv: nn.Conv2d, activation: Activation) -> nn.Module:
        return _best(conv, activation, sizes.get(conv), onednn)

    if isinstance(body, fx.GraphModule):
        _join_activations(body, best)
    # The others: shared, without an activation, or in code that could not be traced.
    for name, layer in list(body.named_modules()):
        if type(layer) is nn.Conv2d and name:
            set_module(body, name, best(layer, Activation()))
    for layer in body.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            layer.to(memory_format=torch.channels_last)
    return body


def _dtype(body: nn.Module) -> torch.dtype:
    return next(body.parameters()).dtype


def _join_activations(body: fx.GraphModule, best: Callable[[nn.Conv2d, Activation], nn.Module]) -> None:
    """Convolutions with an activation behind them become one layer."""
    for node, conv in own_convolutions(body).items():
        (after,) = node.users
        activation = _activation(body, after)
        if activation is None:
            continue
        made = best(conv, activation)
        if made is conv:
            continue
        set_module(body, str(node.target), made)
        after.replace_all_uses_with(node)
        body.graph.erase_node(after)
    tidied(body)


def _activation(body: fx.GraphModule, node: fx.Node) -> Activation | None:
    if node.op == "call_module":
        layer = body.get_submodule(str(node.target))
        known = _OF_LAYERS.get(type(layer))
        return None if known is None else known(layer)
    if node.op == "call_function" and node.target in _RELU_FUNCTIONS:
        return _RELU
    if node.op == "call_method" and node.target in ("relu", "relu_"):
        return _RELU
    return None


def _best(
    conv: nn.Conv2d, activation: Activation, input_hw: tuple[int, int] | None, onednn: bool
) -> nn.Module:
    """The fastest code for a convolution; the convolution itself where there is none or it has no such
    activation."""
    if conv.padding_mode != "zeros" or isinstance(conv.padding, str):
        return conv
    if input_hw is not None and conv.weight.dtype == torch.float32:
        ours = activation in (Activation(), _RELU)  # another comes apart from them, in a layer of its own
        if _for_winograd(conv, input_hw):
            return WinogradConvolution(conv, activation == _RELU) if ours else conv
        if _for_fourier(conv):
            return FourierConvolution(conv, activation == _RELU) if ours else conv
    return OneDNNConvolution(conv, activation, input_hw) if onednn else conv


def _for_winograd(conv: nn.Conv2d, input_hw: tuple[int, int]) -> bool:
    return (
        _shape(conv) == ((3, 3), (1, 1), (1, 1), (1, 1), 1)
        and winograd.available()
        and winograd.pays(conv.in_channels, conv.out_channels, *input_hw)
    )


def _for_fourier(conv: nn.Conv2d) -> bool:
    # With half its kernel as padding it takes maps of any size.
    return (
        _shape(conv) == ((7, 7), (1, 1), (3, 3), (1, 1), 1)
        and fourier.available()
        and fourier.pays(conv.in_channels, conv.out_channels)
    )


def _shape(conv: nn.Conv2d) -> tuple[object, ...]:
    return conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups


@torch.no_grad()
def _input_sizes(body: nn.Module, size_hw: tuple[int, int]) -> dict[nn.Module, tuple[int, int]]:
    """Height and width of what each convolution gets for an image of ``size_hw``."""
    found: dict[nn.Module, tuple[int, int]] = {}

    def note(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        found[layer] = (inputs[0].shape[2], inputs[0].shape[3])

    hooks = [m.register_forward_pre_hook(note) for m in body.modules() if isinstance(m, nn.Conv2d)]
    try:
        body(torch.empty(0, 3, *size_hw, dtype=_dtype(body)))  # no images: shapes, and nothing to compute
    except (RuntimeError, ValueError):
        pass  # a layer that wants images: the sizes behind it are not known, and only help to choose
    finally:
        for hook in hooks:
            hook.remove()
    return found
