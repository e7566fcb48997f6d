"""Lightning Fabric on one device or several."""

from __future__ import annotations

import warnings

from lightning.fabric import Fabric
from lightning.fabric.plugins.environments import ClusterEnvironment
from lightning.fabric.strategies import DDPStrategy
from timm.layers import convert_sync_batchnorm
from torch import Tensor, nn

from sceneparse.group import Group

FABRIC_PRECISION = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


def make_fabric(device: str, precision: str, group: Group) -> Fabric:
    """Fabric for this process of the group; the group is joined already.

    Args:
        device: "cpu", "cuda", or "cuda:N" in a group of one.
        precision: "32", "bf16" or "16".
        group: of several processes, each computes with its own device.
    """
    accelerator, _, number = device.partition(":")
    with warnings.catch_warnings():
        # Fabric recommends wrapping things that this project's loop does itself.
        warnings.simplefilter("ignore")
        if group.size == 1:
            return Fabric(
                accelerator=accelerator,
                devices=[int(number)] if number else 1,
                precision=FABRIC_PRECISION[precision],  # type: ignore[arg-type]
            )
        fabric = Fabric(
            accelerator=accelerator,
            # Statistics of batch norm are kept equal by what computes them, see below.
            strategy=DDPStrategy(cluster_environment=_Cluster(group), broadcast_buffers=False),
            devices=group.local_size,
            num_nodes=group.size // group.local_size,
            precision=FABRIC_PRECISION[precision],  # type: ignore[arg-type]
        )
    # Newer versions of PyTorch have another name for it, which older ones do not know.
    warnings.filterwarnings("ignore", message=".*broadcast_buffers.*")
    fabric.launch()
    return fabric


def synchronize_batch_norm(network: nn.Module, device_type: str, group: Group) -> None:
    """Take the statistics of batch norm over the batches of all processes; PyTorch can do so on GPUs only."""
    if group.size > 1 and device_type == "cuda":
        convert_sync_batchnorm(network)


def average_statistics(network: nn.Module, device_type: str, group: Group) -> None:
    """Running statistics that each process took of its own batch become their mean, the same in all."""
    if group.size > 1 and device_type == "cpu":
        buffers = [buffer for buffer in network.buffers() if buffer.is_floating_point()]
        if buffers:
            together = group.add_up(nn.utils.parameters_to_vector(buffers)) / group.size
            _copy(together, buffers)


def _copy(values: Tensor, buffers: list[Tensor]) -> None:
    for buffer, part in zip(buffers, values.split([b.numel() for b in buffers]), strict=True):
        buffer.copy_(part.view_as(buffer))


class _Cluster(ClusterEnvironment):
    """Tells Fabric the group; the processes are started and connected before."""

    def __init__(self, group: Group) -> None:
        super().__init__()
        self._group = group

    @property
    def creates_processes_externally(self) -> bool:
        return True

    @property
    def main_address(self) -> str:
        raise AssertionError("connected already")

    @property
    def main_port(self) -> int:
        raise AssertionError("connected already")

    @staticmethod
    def detect() -> bool:
        return False

    def world_size(self) -> int:
        return self._group.size

    def set_world_size(self, size: int) -> None:
        assert size == self._group.size

    def global_rank(self) -> int:
        return self._group.rank

    def set_global_rank(self, rank: int) -> None:
        assert rank == self._group.rank

    def local_rank(self) -> int:
        return self._group.local_rank

    def node_rank(self) -> int:
        return self._group.rank // self._group.local_size
