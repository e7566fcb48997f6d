"""Folded and packed networks give the scores and labels of the network they are made from."""

from __future__ import annotations

import copy
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn

from sceneparse.kernels import fourier, winograd
from sceneparse.models import ModelOptions, Network, build_model, upsampled_argmax
from sceneparse.models.build import assemble
from sceneparse.models.vgg import VGG
from sceneparse.prediction import packed as packed_module
from sceneparse.prediction.folding import between, folded, traced
from sceneparse.prediction.packed import OneDNNConvolution, WinogradConvolution, packed
from sceneparse.prediction.rewritten import Rewritten

CLASSES = 5


def narrow_vgg(family: str = "fcn8s", options: ModelOptions | None = None, *, batch_norm: bool = False):
    options = options or ModelOptions()
    vgg = VGG(
        (1, 2, 1, 1, 2),
        batch_norm=batch_norm,
        pooling=options.pooling,
        dropout=0.5,
        padding=options.padding,
        widths=(8, 32, 32, 40, 16),
        fc_width=16,
    )
    return assemble(family, vgg, CLASSES, options)


def small(name: str, options: ModelOptions | None = None):
    return build_model(name, CLASSES, options)


NETWORKS = {
    "fcn32s": lambda: narrow_vgg("fcn32s"),
    "fcn8s": lambda: narrow_vgg("fcn8s"),
    "wide": lambda: narrow_vgg("fcn8s-wide"),
    "fused": lambda: narrow_vgg("fcn4s-fused"),
    "batch norm": lambda: narrow_vgg(batch_norm=True),
    "at once": lambda: narrow_vgg(options=ModelOptions(at_once=True)),
    "bilinear": lambda: narrow_vgg(options=ModelOptions(upsampling="bilinear")),
    "reference": lambda: narrow_vgg(options=ModelOptions(padding="reference")),
    "resnet18": lambda: small("fcn16s-resnet18"),
    "hgnetv2_b0": lambda: small("fcn4s-fused-hgnetv2_b0", ModelOptions(upsampling="bilinear")),
    "mobilenetv3": lambda: small("fcn8s-mobilenetv3_small_050"),
    "same padding": lambda: small("fcn8s-tf_mobilenetv3_small_minimal_100"),
    "layer norm": lambda: small("fcn8s-test_convnext"),
}

NO_NORM_LEFT = ("fused", "batch norm", "resnet18", "hgnetv2_b0", "mobilenetv3")


def randomized(network: Network) -> Network:
    """Scores and norms start at zero and one, which hides mistakes."""
    torch.manual_seed(0)
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.normal_(0, 0.3)
                layer.running_var.uniform_(0.5, 2)
                layer.weight.uniform_(0.5, 1.5)
                layer.bias.normal_(0, 0.3)
        for name, tensor in network.named_parameters():
            if name.startswith("head.") and tensor.ndim > 1:
                tensor.normal_(0, 0.2)
    return network.eval()


def image_of(size_hw: tuple[int, int]) -> torch.Tensor:
    image = torch.randn(1, 3, *size_hw, generator=torch.Generator().manual_seed(1))
    return image.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def check(network: Network, ours: Rewritten, size_hw: tuple[int, int]) -> None:
    tolerance, image = 3e-5, image_of(size_hw)
    scores, wanted = ours.scores(image), network.scores(image)
    scale = wanted.abs().max()
    assert scale > 0
    assert (scores - wanted).abs().max() <= tolerance * scale
    logits = network(image)
    torch.testing.assert_close(ours(image), logits, rtol=0, atol=tolerance * float(logits.abs().max()))
    labels = upsampled_argmax(scores, size_hw, upsampling=ours.upsampling(size_hw))
    top = logits.topk(2, dim=1).values
    clear = top[:, 0] - top[:, 1] > 10 * tolerance * logits.abs().max()
    assert (labels == logits.argmax(1))[clear].all()
    assert clear.float().mean() > 0.9


@pytest.mark.parametrize("name", NETWORKS)
def test_same_scores_logits_and_labels(name):
    network = randomized(NETWORKS[name]())
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    ours = folded(network)
    assert ours is not None
    assert isinstance(ours.body, fx.GraphModule)
    check(network, ours, (64, 96))
    if name in NO_NORM_LEFT:
        assert not any(isinstance(layer, nn.BatchNorm2d) for layer in ours.modules())
        assert not any(node.target is F.batch_norm for node in ours.body.graph.nodes)
        assert not any(isinstance(layer, nn.Dropout) for layer in ours.modules())
    ready = packed(ours, (64, 96))
    check(network, ready, (64, 96))
    check(network, ready, (37, 53))  # another size than it was packed for
    for key, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[key]), key
    assert network.encoder.training is False


def test_every_convolution_is_packed():
    ready = packed(folded(randomized(small("fcn8s-resnet18"))), (64, 96))
    kinds = [type(layer) for layer in ready.modules()]
    assert nn.Conv2d not in kinds
    if not packed_module.can_pack(torch.float32):
        pytest.skip("this PyTorch has no oneDNN")
    assert OneDNNConvolution in kinds
    if winograd.available():
        assert WinogradConvolution in kinds


def test_original_weights_of_our_kernels_are_let_go():
    network = randomized(small("fcn8s-resnet18"))
    convs = {t.data_ptr(): m for m in network.modules() if isinstance(m, nn.Conv2d) for t in (m.weight,)}
    body = packed(folded(network), (64, 96)).body
    held = [*body.parameters(), *body.buffers()]
    held += [layer.plain for layer in body.modules() if isinstance(layer, OneDNNConvolution)]
    kept = [convs[t.data_ptr()] for t in held if t.data_ptr() in convs]
    assert not any(conv.kernel_size == (3, 3) and conv.stride == (1, 1) for conv in kept), kept


def test_a_layout_for_each_of_the_last_sizes():
    if not packed_module.can_pack(torch.float32):
        pytest.skip("this PyTorch has no oneDNN")
    torch.manual_seed(0)
    conv = nn.Conv2d(64, 64, 1)
    layer = OneDNNConvolution(conv, packed_module.Activation(), (8, 8))
    for size in ((8, 8), (4, 6), (8, 8), (5, 5), (4, 6), (1, 1)):
        x = torch.randn(1, 64, *size).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            torch.testing.assert_close(layer(x), conv(x), rtol=1e-5, atol=1e-5)
    assert list(layer._laid_out) == [(1, 64, 5, 5), (1, 64, 1, 1)]


@pytest.mark.parametrize("without", ["oneDNN", "our kernels", "both"])
def test_machines_that_have_less(without, monkeypatch):
    if without in ("oneDNN", "both"):
        monkeypatch.setattr(packed_module, "can_pack", lambda dtype: False)
    if without in ("our kernels", "both"):
        monkeypatch.setattr(winograd, "available", lambda: False)
        monkeypatch.setattr(fourier, "available", lambda: False)
    network = randomized(small("fcn8s-resnet18"))
    ready = packed(folded(network), (64, 96))
    check(network, ready, (64, 96))
    assert any(type(layer) is nn.Conv2d for layer in ready.modules()) == (without != "our kernels")


def network_of(*layers: nn.Module) -> Network:
    """Layers in the place of the encoder of an FCN-32s."""

    class Encoder(nn.Module):
        channels, origins = {32: CLASSES}, {32: 0}

        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(*layers)

        def forward(self, images):
            cells = (images.shape[2] // 32, images.shape[3] // 32)
            return {32: F.interpolate(self.body(images), cells, mode="area")}

    return randomized(assemble("fcn32s", Encoder(), CLASSES, ModelOptions(upsampling="bilinear")))


@pytest.mark.parametrize(
    "activation",
    [
        *(nn.ReLU(), nn.ReLU(inplace=True), nn.SiLU(), nn.Hardswish(), nn.Hardsigmoid(), nn.Sigmoid()),
        *(nn.Tanh(), nn.ReLU6(), nn.LeakyReLU(0.2), nn.GELU(), nn.ELU()),
    ],
    ids=str,
)
def test_activations(activation):
    network = network_of(nn.Conv2d(3, 7, 3, stride=2), activation, nn.Conv2d(7, CLASSES, 1))
    ready = packed(folded(network), (128, 128))
    check(network, ready, (128, 96))
    left = [type(layer) for layer in ready.modules()]
    known = type(activation) in packed_module._OF_LAYERS and packed_module.can_pack(torch.float32)
    assert (type(activation) in left) == (not known)


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(3, CLASSES, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(3, CLASSES, 3, padding="same", dilation=2),
        nn.Conv2d(3, CLASSES, (1, 5), padding=(0, 2), bias=False),
        nn.Conv2d(3, 3 * CLASSES, 3, groups=3, stride=(1, 2)),
    ],
    ids=["reflected", "same", "1x5", "groups"],
)
def test_other_convolutions(conv):
    network = network_of(conv, nn.BatchNorm2d(conv.out_channels), nn.Conv2d(conv.out_channels, CLASSES, 1))
    check(network, packed(folded(network), (64, 64)), (96, 128))


def test_a_layer_that_is_used_twice():
    """Its norms differ, or one place has none: it must stay what it is."""
    conv = nn.Conv2d(3, 3, 3, padding=1)
    network = network_of(conv, nn.BatchNorm2d(3), conv, nn.ReLU(), conv, nn.Conv2d(3, CLASSES, 1))
    check(network, packed(folded(network), (64, 64)), (64, 96))


def test_a_result_that_goes_to_two_places():
    class Branch(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, CLASSES, 3, padding=1), nn.BatchNorm2d(CLASSES)

        def forward(self, x):
            y = self.conv(x)
            return self.norm(y) + y.relu()

    network = network_of(Branch())
    check(network, packed(folded(network), (64, 64)), (64, 96))


def test_what_cannot_be_traced():
    class Choosing(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.other = nn.Conv2d(3, CLASSES, 3, padding=1), nn.Conv2d(3, CLASSES, 1)

        def forward(self, x):
            return self.one(x) if x.mean() > 0 else self.other(x)

    network = network_of(Choosing())
    ours = folded(network)
    assert not isinstance(ours.body, fx.GraphModule)
    ready = packed(ours, (64, 64))
    check(network, ready, (64, 96))
    kinds = {type(layer) for layer in ready.modules()}
    assert OneDNNConvolution in kinds or not packed_module.can_pack(torch.float32)
    assert type(network.encoder.body[0].one) is nn.Conv2d


def test_another_thread_computes_while_a_network_is_traced():
    other = packed(folded(randomized(small("fcn8s-resnet18"))), (64, 96))
    plain, image, found = nn.Conv2d(3, 3, 1), image_of((64, 96)), []

    class InTheMiddle(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x):
            def compute():
                with torch.no_grad():
                    found.append((other(image), plain(image)))

            thread = threading.Thread(target=compute)
            thread.start()
            thread.join()
            return self.conv(x)

    with torch.no_grad():
        wanted = other(image), plain(image)
    graph = traced(InTheMiddle())
    assert [node.op for node in graph.graph.nodes] == ["placeholder", "call_module", "output"]
    assert torch.equal(found[0][0], wanted[0])
    assert torch.equal(found[0][1], wanted[1])


def test_several_threads_fold_at_once():
    networks = [randomized(small("fcn8s-resnet18")) for _ in range(3)]
    with ThreadPoolExecutor(len(networks)) as threads:
        found = list(threads.map(folded, networks))
    for network, ready in zip(networks, found, strict=True):
        assert isinstance(ready.body, fx.GraphModule)
        check(network, ready, (64, 96))
    assert nn.Module.__call__.__module__ == "torch.nn.modules.module"


@torch.no_grad()
def test_in_bfloat16():
    network = randomized(NETWORKS["hgnetv2_b0"]())
    low = folded(copy.deepcopy(network))
    low.body.bfloat16()
    ready = between(packed(low, (64, 96)), torch.bfloat16)
    scores, wanted = ready.scores(image_of((64, 96))), network.scores(image_of((64, 96)))
    assert scores.dtype == torch.float32
    assert (scores - wanted).abs().max() <= 0.05 * wanted.abs().max()
