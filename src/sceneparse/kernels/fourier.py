"""7x7 convolutions on the CPU through the discrete Fourier transform: fc6 of VGG, whose maps are as small as
its kernel.

On a 7x7 map a third of the taps of a padded 7x7 kernel meets no image, and those that do are 1369 products
for 49 cells. Transformed by 10 points each way the map is whole, and a convolution is 52 complex products.
Larger maps are cut into tiles that give 4x4 cells each. The weights, 411 MB of them, are read once, as they
are stored; oneDNN copies them into another order at each call.

The C code is in ``fourier.c`` and ``fourier_gradient.c``. The operator of ``torch.ops.sceneparse`` is
registered when this module is imported.

Shapes: B batch, C channels in, K channels out, H,W map, T tiles, F = 52 frequencies.
"""

from __future__ import annotations

import ctypes
import math
from functools import cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from sceneparse.errors import InputError
from sceneparse.kernels import layers
from sceneparse.kernels.compiler import kernels, torch_threads
from sceneparse.kernels.operators import Operator

POINTS = 10
SIZE = 7
CHANNELS = 16
"""Channels in are done so many at a time."""


class _Job(ctypes.Structure):
    """``Fourier`` of fourier.h."""

    _fields_ = (
        ("parallel", ctypes.c_void_p),
        ("threads", ctypes.c_int64),
        ("maps", ctypes.c_void_p),
        ("weights", ctypes.c_void_p),
        ("gradient", ctypes.c_void_p),
        ("out", ctypes.c_void_p),
        ("tiles", ctypes.c_int64),
        ("channels", ctypes.c_int64),
        ("outs", ctypes.c_int64),
    )


class _Axis(NamedTuple):
    """How rows (or columns) of a map are cut into tiles.

    Args:
        tiles: how many.
        start: row of the map where the first begins.
        first: point of a tile that is its first cell of the output.
        cells: of the output that a tile gives; also the distance of the tiles.
    """

    tiles: int
    start: int
    first: int
    cells: int


def available() -> bool:
    """Whether the compiled code is there."""
    return kernels().library is not None


def pays(channels: int, outs: int) -> bool:
    """Whether it takes such a layer, and is then faster than oneDNN's convolution, on maps of any size.

    Args:
        channels: C.
        outs: K.
    """
    return channels % CHANNELS == 0 and min(channels, outs) >= 256


def convolution(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
    """Convolution with stride 1 and a border of zeros, with gradients.

    Args:
        x: float32 (B, C, H, W) on the CPU, best channels-last; C a multiple of 16.
        weight: float32 (K, C, 7, 7), best channels-last.
        bias: float32 (K).
        padding: 0..6.

    Returns:
        float32 (B, K, H + 2 padding - 6, W + 2 padding - 6), channels-last.
    """
    batch, _, height, width = x.shape
    rows, columns = _axis(height, padding), _axis(width, padding)
    spectra = _Product.apply(_spectra(x, rows, columns), weight.permute(0, 2, 3, 1))
    y = _cells(spectra, batch, rows, columns)
    y = y[:, : height + 2 * padding - SIZE + 1, : width + 2 * padding - SIZE + 1]
    return (y if bias is None else y + bias).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


@Operator
def conv7x7(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
    """:func:`convolution` as one operator, for networks that are exported, without a gradient.

    Args:
        x: likewise.
        weight: float32 (K, 7, 7, C), contiguous.
        bias: likewise.
        padding: likewise.
    """
    return convolution(x, weight.permute(0, 3, 1, 2), bias, padding)


@conv7x7.register_fake
def _conv7x7_like(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
    grown = 2 * padding - SIZE + 1
    size = (x.shape[0], weight.shape[0], x.shape[2] + grown, x.shape[3] + grown)
    return torch.empty(size, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


class Conv7x7(nn.Conv2d):
    """``nn.Conv2d`` of 7x7 and stride 1, by way of the frequencies where that is faster."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        padding = self.padding[0]
        assert isinstance(padding, int)
        grown = 2 * padding - SIZE + 1
        fits = layers.is_plain(input, weight) and input.numel() > 0 and available()
        if not fits or min(input.shape[2:]) + grown < 1:
            return super()._conv_forward(input, weight, bias)
        return convolution(input, weight, bias, padding)


def use(network: nn.Module) -> int:
    """Turn every ``nn.Conv2d`` of a network for which it pays into a :class:`Conv7x7`, in place.

    Returns:
        How many there are now.
    """
    return layers.turn(network, Conv7x7, _is_fitting)


def _is_fitting(layer: nn.Conv2d) -> bool:
    shape = (layer.kernel_size, layer.stride, layer.dilation, layer.groups, layer.padding_mode)
    within = layer.padding[0] == layer.padding[-1] and layer.padding[0] in range(SIZE)
    plain = shape == ((SIZE, SIZE), (1, 1), (1, 1), 1, "zeros") and within
    return plain and pays(layer.in_channels, layer.out_channels)


# ---------------------------------------------------------------------- tiles and their spectra


def _axis(size: int, padding: int) -> _Axis:
    if padding == SIZE // 2 and size <= SIZE:
        return _Axis(1, 0, 0, size)  # points 7..9 are zeros: what wraps around meets nothing
    valid = POINTS - SIZE + 1
    return _Axis(-(-(size + 2 * padding - SIZE + 1) // valid), -padding, SIZE // 2, valid)


def _points(rows: _Axis, columns: _Axis) -> Tensor:
    """Which of the 10 x 10 points of a tile are cells of the output."""
    points = torch.arange(POINTS**2).view(POINTS, POINTS)
    points = points[rows.first : rows.first + rows.cells, columns.first : columns.first + columns.cells]
    return points.flatten()


def _spectra(x: Tensor, rows: _Axis, columns: _Axis) -> Tensor:
    """A map (B, C, H, W) to (2F, T, C) with T = B times rows of tiles times columns of tiles."""
    if rows.first == columns.first == 0:  # whole maps: the other points are zeros
        tiles = x.permute(2, 3, 0, 1).reshape(x.shape[2] * x.shape[3], -1)
        spectra = _transforms()[0][:, _points(rows, columns)] @ tiles
        return spectra.view(2 * len(_frequencies()), *x.shape[:2])
    bounds = [(axis, axis.start + (axis.tiles - 1) * axis.cells + POINTS) for axis in (columns, rows)]
    padding = [
        p
        for (axis, end), size in zip(bounds, (x.shape[3], x.shape[2]), strict=True)
        for p in (-axis.start, end - size)
    ]
    x = F.pad(x.permute(0, 2, 3, 1), (0, 0, *padding))
    tiles = x.unfold(1, POINTS, rows.cells).unfold(2, POINTS, columns.cells)  # (B, rows, columns, C, 10, 10)
    tiles = tiles.permute(4, 5, 0, 1, 2, 3).reshape(POINTS**2, -1)
    return (_transforms()[0] @ tiles).view(2 * len(_frequencies()), -1, x.shape[3])


def _cells(spectra: Tensor, batch: int, rows: _Axis, columns: _Axis) -> Tensor:
    """Spectra (T, K, 2F) to a map (B, H', W', K) of whole tiles."""
    # This way round the gradient of the spectra comes as fourier.h wants it.
    cells = (spectra @ _transforms()[1][_points(rows, columns)].T).mT  # (T, cells, K)
    cells = cells.reshape(batch, rows.tiles, columns.tiles, rows.cells, columns.cells, -1)
    return cells.transpose(2, 3).reshape(
        batch, rows.tiles * rows.cells, columns.tiles * columns.cells, spectra.shape[1]
    )


def _frequencies() -> list[tuple[int, int]]:
    """The 52 frequencies (u, v) of which the others are conjugates, in the order of fourier.h."""
    half = POINTS // 2
    found = []
    for u in range(half + 1):
        for v in range(half + 1):
            found += [(u, v), (u, -v)] if u % half and v % half else [(u, v)]
    return found


@cache
def _transforms() -> tuple[Tensor, Tensor]:
    """From 10 x 10 points to real and imaginary parts (2F, 100), and back (100, 2F)."""
    with torch.inference_mode(False):  # kept for training too
        return _made_transforms()


def _made_transforms() -> tuple[Tensor, Tensor]:
    half = POINTS // 2
    frequencies = torch.tensor(_frequencies(), dtype=torch.float64)
    points = torch.cartesian_prod(*[torch.arange(POINTS, dtype=torch.float64)] * 2)
    phases = 2 * math.pi / POINTS * (frequencies @ points.T)
    waves = torch.stack((phases.cos(), -phases.sin()), 1)
    # All others but those at 0 and 5 stand for their conjugates too.
    times = torch.where((frequencies % half == 0).all(1), 1.0, 2.0) / POINTS**2
    back = waves * times[:, None, None]
    return waves.flatten(0, 1).float(), back.flatten(0, 1).T.float().contiguous()


# ---------------------------------------------------------------------- one product a frequency


class _Product(torch.autograd.Function):
    """Spectra (2F, T, C) times those of the weights (K, 7, 7, C), summed over C: (T, K, 2F)."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weights: Tensor) -> Tensor:
        maps, weights = maps.contiguous(), weights.contiguous()
        ctx.save_for_backward(maps, weights)
        found = maps.new_empty((maps.shape[1], len(weights), len(maps)))
        job = _job(maps, len(weights), out=found)
        job.maps, job.weights = maps.data_ptr(), weights.data_ptr()
        _done(_library().sceneparse_fourier(ctypes.byref(job)))
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        maps, weights = ctx.saved_tensors
        gradient = gradient.contiguous()
        of_maps = of_weights = None
        if ctx.needs_input_grad[0]:
            of_maps = torch.empty_like(maps)
            job = _job(maps, len(weights), out=of_maps)
            job.weights, job.gradient = weights.data_ptr(), gradient.data_ptr()
            _done(_library().sceneparse_fourier_maps(ctypes.byref(job)))
        if ctx.needs_input_grad[1]:
            of_weights = torch.empty_like(weights)
            job = _job(maps, len(weights), out=of_weights)
            job.maps, job.gradient = maps.data_ptr(), gradient.data_ptr()
            _done(_library().sceneparse_fourier_weights(ctypes.byref(job)))
        return of_maps, of_weights


def _job(maps: Tensor, outs: int, *, out: Tensor) -> _Job:
    assert maps.dtype == torch.float32, maps.dtype
    assert maps.shape[0] == 2 * len(_frequencies()), maps.shape
    assert maps.shape[2] % CHANNELS == 0, maps.shape
    return _Job(
        parallel=torch_threads(),
        threads=torch.get_num_threads(),
        out=out.data_ptr(),
        tiles=maps.shape[1],
        channels=maps.shape[2],
        outs=outs,
    )


def _done(status: int) -> None:
    if status:
        raise InputError("not enough memory for a convolution", fix="a smaller --batch-size or --size")


def _library() -> ctypes.CDLL:
    library = kernels().library
    assert library is not None, kernels().said
    return library
