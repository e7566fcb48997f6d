"""3x3 convolutions on the CPU by Winograd's minimal filtering: a quarter of the multiplications.

The C code is in ``winograd.c`` and ``winograd_gradient.c``, the paper it follows is named in ``winograd.h``.
The operators of ``torch.ops.sceneparse`` are registered when this module is imported.

Shapes: B batch, C channels in, K channels out, H,W image.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor, nn

from sceneparse.errors import InputError
from sceneparse.kernels import layers
from sceneparse.kernels.compiler import kernels, torch_threads
from sceneparse.kernels.operators import Operator

_STRIDES = tuple((name, ctypes.c_int64) for name in ("by_k", "by_c", "by_y", "by_x"))

_SIZES = (
    ("parallel", ctypes.c_void_p),
    ("threads", ctypes.c_int64),
    ("batch", ctypes.c_int64),
    ("channels", ctypes.c_int64),
    ("outs", ctypes.c_int64),
    ("height", ctypes.c_int64),
    ("width", ctypes.c_int64),
)


class _Packing(ctypes.Structure):
    """``Pack`` of winograd.c."""

    _fields_ = (
        ("parallel", ctypes.c_void_p),
        ("threads", ctypes.c_int64),
        ("channels", ctypes.c_int64),
        ("outs", ctypes.c_int64),
        ("weight", ctypes.c_void_p),
        *_STRIDES,
        ("turned", ctypes.c_int64),
        ("packed", ctypes.c_void_p),
    )


class _Convolution(ctypes.Structure):
    """``Conv`` of winograd.c."""

    _fields_ = (
        *_SIZES,
        ("x", ctypes.c_void_p),
        ("packed", ctypes.c_void_p),
        ("pack", ctypes.POINTER(_Packing)),
        ("bias", ctypes.c_void_p),
        ("y", ctypes.c_void_p),
        ("relu", ctypes.c_int64),
    )


class _WeightGradient(ctypes.Structure):
    """``WeightGrad`` of winograd_gradient.c."""

    _fields_ = (
        *_SIZES,
        ("x", ctypes.c_void_p),
        ("grad", ctypes.c_void_p),
        ("weight", ctypes.c_void_p),
        *_STRIDES,
        ("bias", ctypes.c_void_p),
    )


def available() -> bool:
    """Whether the compiled code is there."""
    return kernels().library is not None


def pays(
    channels: int, outs: int, height: int, width: int, *, batch: int = 1, training: bool = False
) -> bool:
    """Whether it is faster than oneDNN's convolution, by measurements with one thread.

    Args:
        channels: C.
        outs: K.
        height: H.
        width: W.
        batch: B.
        training: the weight is packed at each call, and there are gradients.
    """
    tiles = batch * -(-height // 4) * -(-width // 4)
    # The transformed weights must serve some tiles, and all the work be more than that of the call itself.
    return min(channels, outs) >= 16 and tiles >= (16 if training else 4) and tiles * channels * outs >= 2**16


def packed(weight: Tensor, *, turned: bool = False) -> Tensor:
    """A weight transformed and laid out for :func:`conv3x3` on this processor.

    Args:
        weight: float32 (K, C, 3, 3) on the CPU.
        turned: for the gradient of the input: a convolution from K to C channels.

    Returns:
        float32 (N), to be given on as it is.
    """
    return pack3x3(weight, turned)


@Operator
def pack3x3(weight: Tensor, turned: bool) -> Tensor:
    """See :func:`packed`."""
    job = _packing(weight, turned)
    found = _pack3x3_like(weight, turned)
    job.packed = found.data_ptr()
    _library().sceneparse_conv3x3_pack(ctypes.byref(job))
    return found


@pack3x3.register_fake
def _pack3x3_like(weight: Tensor, turned: bool) -> Tensor:
    outs, channels = weight.shape[:2] if not turned else weight.shape[1::-1]
    return weight.new_empty(_library().sceneparse_conv3x3_packed(channels, outs))


@Operator
def conv3x3(x: Tensor, packed: Tensor, bias: Tensor | None, out_channels: int, relu: bool) -> Tensor:
    """Convolution with stride 1 and a border of zeros, without a gradient.

    Args:
        x: float32 (B, C, H, W), best channels-last.
        packed: the weight, by :func:`packed`.
        bias: float32 (K).
        out_channels: K.
        relu: replace negative results by 0.

    Returns:
        float32 (B, K, H, W), channels-last.
    """
    assert packed.dtype == torch.float32, packed.dtype
    assert packed.numel() == _library().sceneparse_conv3x3_packed(x.shape[1], out_channels)
    return _convolve(_Convolution(packed=packed.data_ptr(), relu=relu), x, bias, out_channels)


@conv3x3.register_fake
def _conv3x3_like(x: Tensor, packed: Tensor, bias: Tensor | None, out_channels: int, relu: bool) -> Tensor:
    return _result(x, out_channels)


@Operator
def conv3x3_unpacked(x: Tensor, weight: Tensor, bias: Tensor | None, turned: bool) -> Tensor:
    """As :func:`conv3x3`, for a weight that is used once and then changes.

    Args:
        x: float32 (B, C, H, W), best channels-last.
        weight: float32 (K, C, 3, 3).
        bias: float32 (K).
        turned: the gradient of the input of a convolution: x (B, K, H, W) to (B, C, H, W).

    Returns:
        float32 (B, K, H, W), channels-last.
    """
    job = _Convolution(pack=ctypes.pointer(_packing(weight, turned)))
    assert x.shape[1] == job.pack.contents.channels, (x.shape, weight.shape)
    return _convolve(job, x, bias, job.pack.contents.outs)


@conv3x3_unpacked.register_fake
def _conv3x3_unpacked_like(x: Tensor, weight: Tensor, bias: Tensor | None, turned: bool) -> Tensor:
    return _result(x, weight.shape[1] if turned else weight.shape[0])


def _packing(weight: Tensor, turned: bool) -> _Packing:
    _check(weight)
    outs, channels = weight.shape[:2] if not turned else weight.shape[1::-1]
    by_k, by_c, by_y, by_x = weight.stride()
    if turned:
        by_k, by_c = by_c, by_k
    return _Packing(
        parallel=torch_threads(),
        threads=torch.get_num_threads(),
        channels=channels,
        outs=outs,
        weight=weight.data_ptr(),
        by_k=by_k,
        by_c=by_c,
        by_y=by_y,
        by_x=by_x,
        turned=turned,
    )


def _convolve(job: _Convolution, x: Tensor, bias: Tensor | None, outs: int) -> Tensor:
    """Fill in what all convolutions have, and do it."""
    _check(x)
    x = x.contiguous(memory_format=torch.channels_last)
    if bias is not None:
        assert (bias.dtype, *bias.shape) == (torch.float32, outs), bias
        bias = bias.contiguous()
        job.bias = bias.data_ptr()
    found = _result(x, outs)
    job.x, job.y = x.data_ptr(), found.data_ptr()
    if found.numel():
        _run("sceneparse_conv3x3", job, x, outs)
    return found


def _result(x: Tensor, outs: int) -> Tensor:
    size = (x.shape[0], outs, *x.shape[2:])
    return torch.empty(size, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


@Operator
def conv3x3_weight_gradient(x: Tensor, grad: Tensor, channels_last: bool) -> tuple[Tensor, Tensor]:
    """Gradients of the weight and the bias of :func:`conv3x3`.

    Args:
        x: float32 (B, C, H, W), best channels-last.
        grad: float32 (B, K, H, W), of the result.
        channels_last: how the gradient of the weight is to lie in memory.

    Returns:
        float32 (K, C, 3, 3) and (K).
    """
    _check(x)
    _check(grad)
    outs = grad.shape[1]
    assert grad.shape == (x.shape[0], outs, *x.shape[2:]), (x.shape, grad.shape)
    x, grad = (one.contiguous(memory_format=torch.channels_last) for one in (x, grad))
    weight, bias = _conv3x3_weight_gradient_like(x, grad, channels_last)
    if not x.numel():
        return weight.zero_(), bias.zero_()
    by_k, by_c, by_y, by_x = weight.stride()
    job = _WeightGradient(
        x=x.data_ptr(),
        grad=grad.data_ptr(),
        weight=weight.data_ptr(),
        by_k=by_k,
        by_c=by_c,
        by_y=by_y,
        by_x=by_x,
        bias=bias.data_ptr(),
    )
    _run("sceneparse_conv3x3_weight_gradient", job, x, outs)
    return weight, bias


@conv3x3_weight_gradient.register_fake
def _conv3x3_weight_gradient_like(x: Tensor, grad: Tensor, channels_last: bool) -> tuple[Tensor, Tensor]:
    form = torch.channels_last if channels_last else torch.contiguous_format
    size = (grad.shape[1], x.shape[1], 3, 3)
    return torch.empty(size, dtype=x.dtype, device=x.device, memory_format=form), x.new_empty(size[0])


def _run(name: str, job: _Convolution | _WeightGradient, x: Tensor, outs: int) -> None:
    """Fill in sizes and threads, and do it.

    Raises:
        InputError: out of memory.
    """
    job.parallel, job.threads = torch_threads(), torch.get_num_threads()
    job.batch, job.channels, job.height, job.width = x.shape
    job.outs = outs
    if getattr(_library(), name)(ctypes.byref(job)):
        raise InputError("not enough memory for a convolution", fix="a smaller --batch-size or --size")


def _check(tensor: Tensor) -> None:
    assert tensor.dtype == torch.float32, tensor.dtype
    assert tensor.dim() == 4, tensor.shape


def _library() -> ctypes.CDLL:
    library = kernels().library
    assert library is not None, kernels().said
    return library


class _Differentiable(torch.autograd.Function):
    """Saves the input and the weight."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return conv3x3_unpacked(x, weight, bias, False)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x = of_weight = of_bias = None
        grad = grad.contiguous(memory_format=torch.channels_last)  # once for both
        if ctx.needs_input_grad[0]:
            of_x = conv3x3_unpacked(grad, weight, None, True)
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            channels_last = weight.is_contiguous(memory_format=torch.channels_last)
            of_weight, of_bias = conv3x3_weight_gradient(x, grad, channels_last)
        return of_x, of_weight, of_bias if ctx.needs_input_grad[2] else None


def convolution(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolution with stride 1 and a border of zeros, with gradients.

    Args:
        x: float32 (B, C, H, W) on the CPU, best channels-last.
        weight: float32 (K, C, 3, 3).
        bias: float32 (K).

    Returns:
        float32 (B, K, H, W), channels-last.
    """
    return _Differentiable.apply(x, weight, bias)


class Conv3x3(nn.Conv2d):
    """``nn.Conv2d`` of 3x3, stride 1, padding 1, by Winograd's method where that is faster."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return (
            convolution(input, weight, bias)
            if _fits(input, weight)
            else super()._conv_forward(input, weight, bias)
        )


def _fits(x: Tensor, weight: Tensor) -> bool:
    if not layers.is_plain(x, weight) or not available():
        return False
    outs, channels = weight.shape[:2]
    return pays(channels, outs, *x.shape[2:], batch=len(x), training=True)


def use(network: nn.Module) -> int:
    """Turn every fitting ``nn.Conv2d`` of a network into a :class:`Conv3x3`, in place.

    Returns:
        How many there are now.
    """
    return layers.turn(network, Conv3x3, _is_fitting)


def _is_fitting(layer: nn.Conv2d) -> bool:
    shape = (layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups)
    return shape == ((3, 3), (1, 1), (1, 1), (1, 1), 1) and layer.padding_mode == "zeros"
