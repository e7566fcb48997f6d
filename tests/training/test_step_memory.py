"""What a training step on a GPU holds, counted without one."""

import torch

from sceneparse.kernels.transposed import BAND_BYTES_ACCELERATOR
from sceneparse.models import build_model

CARD = 8 * 10**9  # bytes: a card sold as 8 GB has 8 GiB, and some of it is taken


def test_the_papers_batch_fits_in_a_card_of_8_gb():
    """FCN-8s VGG19, 151 classes, 20 pictures of 224x224, float32, Adam: where the source filled it with 3.

    Counted: weights, gradients, Adam's two moments; what autograd keeps; two gradients as large as the
    largest layer's output, which exist at once on the way back; and of the loss four bands as large as they
    get. For workspaces of cuDNN and the context of CUDA 1.5 GB are left.
    """
    with torch.device("meta"):
        network = build_model("fcn8s-vgg19", 151).train()
        images = torch.zeros(20, 3, 224, 224)
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage
        return tensor

    largest = 0

    def measure(_layer, _inputs, output):
        nonlocal largest
        largest = max(largest, output.nbytes if isinstance(output, torch.Tensor) else 0)

    for layer in network.modules():
        layer.register_forward_hook(measure)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        scores = network.scores(images)
    weights = {weight.untyped_storage()._cdata: weight.nbytes for weight in network.parameters()}
    activations = sum(storage.nbytes() for key, storage in kept.items() if key not in weights)
    step = 4 * sum(weights.values()) + activations + 2 * largest + 2 * scores.nbytes
    assert largest == 20 * 64 * 224 * 224 * 4
    # Inputs of the convolutions, by hand, in floats: conv1_2 to conv5_4 and fc6, each one's input.
    by_hand = 64 * 224**2 + 64 * 112**2 + 128 * 112**2 + 128 * 56**2 + 3 * 256 * 56**2
    by_hand += 256 * 28**2 + 3 * 512 * 28**2 + 4 * 512 * 14**2 + 512 * 7**2
    assert activations > 20 * 4 * by_hand
    assert step + 4 * BAND_BYTES_ACCELERATOR < CARD - 1.5 * 10**9, f"{step / 1e9:.2f} GB"
