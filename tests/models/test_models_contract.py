"""What every network promises, whatever its head and backbone. A new one is one line in MODELS."""

import copy
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from narrow_fcn import narrow_fcn, randomized

from sceneparse.models import ModelOptions, build_model, model_from_architecture, upsampled_argmax
from sceneparse.training.loss import cross_entropy_sum

CLASSES = 5
SIZES_HW = [(1, 1), (37, 53), (64, 96)]

MODELS = {
    "fcn32s": lambda: narrow_fcn("fcn32s"),
    "fcn16s": lambda: narrow_fcn("fcn16s"),
    "fcn8s": lambda: narrow_fcn("fcn8s"),
    "fcn4s": lambda: narrow_fcn("fcn4s"),
    "fcn8s-fused": lambda: narrow_fcn("fcn8s-fused"),
    "fcn4s-fused": lambda: narrow_fcn("fcn4s-fused"),
    "fcn2s-fused": lambda: narrow_fcn("fcn2s-fused"),
    "fcn2s-fused-slimresnet20": lambda: build_model("fcn2s-fused-slimresnet20", CLASSES),
    "fcn8s-slimresnet20": lambda: build_model(
        "fcn8s-slimresnet20", CLASSES, ModelOptions(upsampling="bilinear")
    ),
    "wide": lambda: narrow_fcn("fcn8s-wide"),
    "batch norm": lambda: narrow_fcn(batch_norm=True),
    "average pooling": lambda: narrow_fcn(options=ModelOptions(pooling="average")),
    "source pooling": lambda: narrow_fcn(options=ModelOptions(pooling="source")),
    "fixed upsampling": lambda: narrow_fcn(options=ModelOptions(upsampling="bilinear")),
    "at once": lambda: narrow_fcn(options=ModelOptions(at_once=True)),
    "reference 32s": lambda: narrow_fcn("fcn32s", ModelOptions(padding="reference")),
    "reference 8s": lambda: narrow_fcn("fcn8s", ModelOptions(padding="reference")),
    "fcn8s-test_resnet": lambda: build_model("fcn8s-test_resnet", CLASSES),
    "fcn4s-test_convnext": lambda: build_model(
        "fcn4s-test_convnext", CLASSES, ModelOptions(upsampling="bilinear")
    ),
    "smp/unet-tu-test_resnet": lambda: small_smp(
        "unet", "tu-test_resnet", decoder_channels=[16, 16, 8, 8, 8]
    ),
    "smp/fpn-mobilenet_v2": lambda: small_smp("fpn", "mobilenet_v2", decoder_pyramid_channels=32),
    "smp/segformer-mit_b0": lambda: small_smp("segformer", "mit_b0", decoder_segmentation_channels=32),
    "smp/dpt-tu-test_vit": lambda: small_smp(
        "dpt", "tu-test_vit", decoder_fusion_channels=16, decoder_intermediate_channels=[16, 16, 16, 16]
    ),
    "fcn8s-wide-test_efficientnet": lambda: build_model("fcn8s-wide-test_efficientnet", CLASSES),
}


def small_smp(arch, encoder, **arguments):
    pytest.importorskip("segmentation_models_pytorch", reason="segmentation-models-pytorch is not installed")
    return build_model(f"smp/{arch}-{encoder}", CLASSES, ModelOptions(smp=arguments))


@cache
def built(name):
    torch.manual_seed(0)
    return MODELS[name]()


@pytest.fixture(params=MODELS)
def model(request):
    model = copy.deepcopy(built(request.param))
    torch.manual_seed(0)
    return randomized(model)


@pytest.mark.parametrize("size_hw", SIZES_HW, ids=str)
def test_logits_have_the_size_of_the_image(model, size_hw):
    with torch.no_grad():
        logits = model.eval()(torch.randn(2, 3, *size_hw))
    assert logits.shape == (2, CLASSES, *size_hw)
    assert logits.dtype == torch.float32
    assert torch.isfinite(logits).all()


def test_every_parameter_gets_a_gradient(model):
    model.train()(torch.randn(2, 3, 37, 53)).square().mean().backward()
    learned = {n: p for n, p in model.named_parameters() if p.requires_grad}
    without = [n for n, p in learned.items() if p.grad is None or not p.grad.any()]
    assert not without


@pytest.mark.parametrize("size_hw", SIZES_HW, ids=str)
def test_loss_from_the_scores_is_that_of_the_logits(model, size_hw):
    """In value and in the gradient of every parameter: training never makes full-resolution logits."""
    model.eval()
    images, labels = torch.randn(2, 3, *size_hw), torch.randint(0, CLASSES, (2, *size_hw))
    labels[:, size_hw[0] // 2 :, :1] = 255
    labels[0, 0, 0] = 1
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    wanted = F.cross_entropy(model(images), labels, ignore_index=255, reduction="sum")
    gradients = torch.autograd.grad(wanted, parameters.values())
    ours = cross_entropy_sum(model.scores(images), labels, upsampling=model.upsampling(size_hw))
    torch.testing.assert_close(ours, wanted, rtol=1e-5, atol=1e-5)
    pairs = zip(parameters, torch.autograd.grad(ours, parameters.values()), gradients, strict=True)
    for name, found, expected in pairs:
        # Float32 rounding of sums over all pixels, carried through the network.
        assert (found - expected).abs().max() <= 1e-4 * expected.abs().max() + 1e-6, name


@pytest.mark.parametrize("size_hw", SIZES_HW, ids=str)
def test_labels_from_the_scores_are_the_argmax_of_the_logits(model, size_hw):
    images = torch.randn(2, 3, *size_hw)
    with torch.no_grad():
        logits = model.eval()(images)
        labels = upsampled_argmax(model.scores(images), size_hw, upsampling=model.upsampling(size_hw))
    best = logits.topk(2, dim=1).values
    clear = best[:, 0] - best[:, 1] > 1e-4 * logits.abs().max()
    assert torch.equal(labels.long()[clear], logits.argmax(1)[clear])
    assert clear.float().mean() > 0.95


def test_eval_is_deterministic_and_state_dict_carries_everything(model, tmp_path):
    image = torch.randn(1, 3, 37, 53)
    with torch.no_grad():
        model.train()(torch.randn(2, 3, 37, 53))  # moves running statistics away from their start
        expected = model.eval()(image)
        assert torch.equal(expected, model(image))
        torch.save(model.state_dict(), tmp_path / "model.pth")
        for tensor in model.state_dict().values():
            tensor.zero_()
        model.load_state_dict(torch.load(tmp_path / "model.pth", weights_only=True))
        assert torch.equal(expected, model(image))


def test_channels_last_gives_the_same_logits(model):
    image = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        expected = model.eval()(image)
        found = model.to(memory_format=torch.channels_last)(image.to(memory_format=torch.channels_last))
    # Other kernels add in another order: float32 rounding of sums of a few hundred terms of order 1.
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_head_parameters_are_named_as_in_the_state_dict(model):
    state = model.state_dict()
    head = model.head_parameter_names()
    assert head
    assert set(head) <= set(state)
    rest = {n.partition(".")[0] for n, _ in model.named_parameters() if n not in head}
    assert rest <= {"encoder", "decoder"}


@pytest.mark.parametrize("name", ["fcn8s-test_resnet", "fcn8s-wide-test_convnext"])
def test_architecture_builds_the_same_network_again(name):
    options = ModelOptions(dropout=0.25)
    model = build_model(name, 7, options)
    again = model_from_architecture(model.architecture)
    assert again.architecture == model.architecture
    assert [(n, t.shape) for n, t in again.state_dict().items()] == [
        (n, t.shape) for n, t in model.state_dict().items()
    ]
    assert again.head.dropout.p == 0.25
