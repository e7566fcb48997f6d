"""What a step does: gradient, optimizer, averaged weights, on a device in a precision (Lightning Fabric).

Shapes: ``B`` batch, ``K`` classes, ``H, W`` rows and columns.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sceneparse.config import RunConfig
from sceneparse.data.loader import Batch
from sceneparse.errors import InputError
from sceneparse.group import Group
from sceneparse.kernels import fourier, pointwise, skipping, winograd
from sceneparse.memory import keep_freed_memory
from sceneparse.models import Network
from sceneparse.normalization import Normalization
from sceneparse.prediction.inference import normalized
from sceneparse.training.checkpoint import Checkpoint
from sceneparse.training.devices import average_statistics, make_fabric, synchronize_batch_norm
from sceneparse.training.loss import cross_entropy_sum, mean_of, pixel_weight
from sceneparse.training.optim import learning_rate, make_optimizer, set_learning_rate, update_average

_STREAM = 0x73746570
"""Keeps dropout's random numbers apart from those of data and augmentation, which share the seed."""


class _Scores(nn.Module):
    """A network up to its last upsampling, which is part of the loss."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network.scores(images)


class Learner:
    """A network that learns; every step is a function of the weights, the batches, the seed and its number.

    Args:
        config: with device and precision resolved.
        network: with the weights it starts from; moved to the device.
        normalization: what these weights expect.
        ignore_index: label without effect.
        class_weights: (K,) or None.
        group: the processes that take each step together; joined.

    Attributes:
        device: where it computes.
        network: as it is trained.
        evaluated: the network to evaluate and ship: with averaged weights where the settings ask for them.
        rate: learning rate of the last step.
    """

    def __init__(
        self,
        config: RunConfig,
        network: Network,
        normalization: Normalization,
        *,
        ignore_index: int,
        class_weights: Tensor | None,
        group: Group = Group(),  # noqa: B008
    ) -> None:
        self.config = config
        self.normalization = normalization
        self.ignore_index = ignore_index
        self.rate = 0.0
        self._group = group
        self._fabric = make_fabric(config.device, config.precision, group)
        self.device = self._fabric.device
        self.class_weights = None if class_weights is None else class_weights.to(self.device)
        self._adjustment = _adjustment(network, self.class_weights) if config.loss.logit_adjustment else None
        optimizer = make_optimizer(network, config.optimizer, fused=config.precision != "16")
        network.to(memory_format=torch.channels_last)
        if self.device.type == "cpu":
            keep_freed_memory()
            for kernel in (winograd, fourier, pointwise, skipping):
                kernel.use(network)
        self._average: Network | None = None
        if config.optimizer.ema:
            self._average = copy.deepcopy(network).to(self.device).eval().requires_grad_(False)
        synchronize_batch_norm(network, self.device.type, group)
        self.network = network
        self._scores, self._optimizer = self._fabric.setup(_Scores(network), optimizer)

    @property
    def evaluated(self) -> Network:
        """See the class."""
        return self.network if self._average is None else self._average

    def step(self, parts: Sequence[Batch], step: int) -> Tensor:
        """Take step number ``step`` (from 0) on the samples of all ``parts`` of all processes together.

        Returns:
            their loss before the step, float32 scalar on the device, the same in every process.

        Raises:
            InputError: an operation cannot be deterministic, or a batch is too small.
        """
        settings = self.config.optimizer
        self.rate = learning_rate(settings, step, self.config.steps)
        set_learning_rate(self._optimizer, self.rate)
        with _explained():
            loss = self._gradient(parts, step)
        if settings.clip_norm:
            self._fabric.clip_gradients(
                self._scores, self._optimizer, max_norm=settings.clip_norm, error_if_nonfinite=False
            )
        self._optimizer.step()
        self._optimizer.zero_grad()
        average_statistics(self.network, self.device.type, self._group)
        if self._average is not None:
            update_average(self._average, self.network, settings.ema, step)
        return loss

    def _gradient(self, parts: Sequence[Batch], step: int) -> Tensor:
        """Add the gradient of the mean loss over all pixels of ``parts`` everywhere; returns that loss.

        Each part is divided by what all of them count, so that a pixel weighs the same however a step is cut
        into parts and over processes.
        """
        masks = [batch["mask"].to(self.device, non_blocking=True) for batch in parts]
        weights = [pixel_weight(mask, self.ignore_index, self.class_weights) for mask in masks]
        counted = self._group.add_up(torch.stack(weights).sum())
        loss = torch.zeros((), device=self.device)
        for part, (batch, mask) in enumerate(zip(parts, masks, strict=True)):
            # Dropout: a function of seed and step, so that a resumed run draws what the unbroken one drew.
            torch.manual_seed(_seed(self.config.seed, step, part, self._group.rank))
            images = normalized(batch["image"], self.normalization, self.device)
            with self._apart_until_the_last(part, len(parts)):
                scores = self._scores(images)
                if self._adjustment is not None:
                    scores = scores + self._adjustment
                # A learned upsampling computes in the precision of the network's other layers.
                with self._fabric.autocast():
                    total = cross_entropy_sum(
                        scores,
                        mask,
                        self.ignore_index,
                        self.class_weights,
                        self.config.loss.label_smoothing,
                        upsampling=self.network.upsampling((mask.shape[1], mask.shape[2])),
                    )
                share = mean_of(total, counted)
                # The processes' gradients are averaged; it is their sum that is wanted.
                self._fabric.backward(share * self._group.size)
            loss += share.detach()
        return self._group.add_up(loss)

    def _apart_until_the_last(self, part: int, parts: int) -> AbstractContextManager[None]:
        """Gradients are exchanged once a step, with its last part."""
        if self._group.size == 1 or part == parts - 1:
            return nullcontext()
        return self._fabric.no_backward_sync(self._scores)

    def is_finite(self) -> bool:
        """Whether every weight and running statistic is: a finite loss may have had another gradient."""
        tensors = [t for t in self.network.state_dict().values() if t.is_floating_point()]
        return bool(torch.isfinite(nn.utils.get_total_norm(tensors)))

    def state(self) -> dict[str, Any]:
        """What :class:`~sceneparse.training.checkpoint.Checkpoint` holds of it, by field."""
        scaler = self._scaler()
        return {
            "model": self.network.state_dict(),
            "average": None if self._average is None else self._average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": {} if scaler is None else scaler.state_dict(),
            "normalization": self.normalization.to_dict(),
        }

    def restore(self, checkpoint: Checkpoint, run: Path) -> None:
        """Become what the checkpoint holds.

        Raises:
            InputError: it is of another network.
        """
        try:
            self.network.load_state_dict(checkpoint.model)
            if self._average is not None:
                self._average.load_state_dict(checkpoint.average or {})
            self._optimizer.load_state_dict(checkpoint.optimizer)
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"the checkpoint does not fit the network: {' '.join(str(error).split())[:300]}",
                where=run,
                fix="resume with the versions in environment.json, or start a new run",
            ) from None
        scaler = self._scaler()
        if scaler is not None and checkpoint.scaler:
            scaler.load_state_dict(checkpoint.scaler)

    def _scaler(self) -> Any:
        return getattr(self._fabric.strategy.precision, "scaler", None)


def _adjustment(network: Network, class_weights: Tensor | None) -> Tensor | None:
    """What is added to the scores in the loss, (K, 1, 1): logarithms of the weights.

    The optimum of the weighted loss is then where the softmax of the scores alone is the classes'
    probability [Menon et al., *Long-tail learning via logit adjustment*, ICLR 2021, the other way round].

    Raises:
        InputError: it could not be added before the last upsampling, which is learned.
    """
    if class_weights is None:
        return None
    if network.upsampling((network.multiple, network.multiple)).kernel is not None:
        raise InputError(
            "loss.logit_adjustment is for networks whose last upsampling is bilinear",
            where="setting loss.logit_adjustment",
            fix="--set model.options.upsampling=bilinear, or --set loss.logit_adjustment=false",
        )
    counted = class_weights > 0
    return torch.where(counted, class_weights, 1.0).log()[:, None, None]


@contextmanager
def _explained() -> Iterator[None]:
    """Turns errors of PyTorch that the user can do something about into InputError."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise InputError(
            "batch normalisation has nothing to average over: one picture, of which one cell is left",
            fix="a larger --batch-size or --size",
        ) from error
    except RuntimeError as error:
        if "deterministic" not in str(error):
            raise
        raise InputError(
            f"--deterministic cannot be kept here: {str(error).splitlines()[0]}",
            fix="leave it out, or use --device cpu",
        ) from error


def _seed(seed: int, step: int, part: int, rank: int) -> int:
    """A seed of 64 bits for one forward pass of one process."""
    key = (_STREAM, step, part, *([rank] if rank else []))
    numbers = np.random.SeedSequence(seed, spawn_key=key).generate_state(1, np.uint64)
    return int(numbers[0])
