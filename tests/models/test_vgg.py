"""Our VGG and FCN against torchvision's layers and against a restatement of the published nets."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from narrow_fcn import BLOCKS, FC_WIDTH, WIDTHS, narrow_fcn, narrow_vgg
from torch import nn

from sceneparse.models import ModelOptions, load_weights
from sceneparse.models.statedict import vgg_layers
from sceneparse.normalization import CAFFE_BGR, IMAGENET


@torch.no_grad()
def torchvision_vgg(blocks, batch_norm):
    """torchvision's own VGG class and layers, a few channels wide, every weight random."""
    plan = [step for count, width in zip(blocks, WIDTHS, strict=True) for step in [width] * count + ["M"]]
    with torch.device("meta"):  # its classifier has 4096 channels whatever the plan
        net = torchvision.models.VGG(torchvision.models.vgg.make_layers(plan, batch_norm))
    net.classifier = nn.Sequential(
        nn.Linear(WIDTHS[-1] * 49, FC_WIDTH), nn.ReLU(), nn.Dropout(),
        nn.Linear(FC_WIDTH, FC_WIDTH), nn.ReLU(), nn.Dropout(), nn.Linear(FC_WIDTH, 10),
    )  # fmt: skip
    net.to_empty(device="cpu")
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point():
            fan_in = tensor[0].numel() if tensor.ndim > 1 else 1
            tensor.copy_(torch.randn_like(tensor) * (2 / fan_in) ** 0.5)
            if name.endswith("running_var"):
                tensor.abs_().add_(0.5)
        else:
            tensor.zero_()
    return net.eval()


@pytest.mark.parametrize("batch_norm", [False, True])
def test_features_equal_torchvisions_after_its_pools(batch_norm, tmp_path):
    torch.manual_seed(0)
    theirs = torchvision_vgg(BLOCKS, batch_norm)
    torch.save(theirs.state_dict(), tmp_path / "vgg.pth")
    model = narrow_fcn(batch_norm=batch_norm).eval()
    report = load_weights(model, tmp_path / "vgg.pth")

    image = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        x, after_pool = image, []
        for layer in theirs.features:
            x = layer(x)
            if isinstance(layer, nn.MaxPool2d):
                after_pool.append(x)
        features = model.encoder(image)
        for stride, expected in zip((4, 8, 16), after_pool[1:4], strict=True):
            torch.testing.assert_close(features[stride], expected, atol=1e-5, rtol=1e-5)
        # The classifier sees the 7x7 map once; our fc6, padded by 3, sees the same at its middle.
        fc7 = theirs.classifier[:5](x.flatten(1))
        torch.testing.assert_close(features[32][:, :, 3, 3], fc7, atol=1e-5, rtol=1e-5)
    assert report.normalization == IMAGENET
    assert set(report.kept) == {n for n in model.state_dict() if n.startswith("encoder.")}
    assert report.unused == ("classifier.6.weight", "classifier.6.bias")


@pytest.mark.parametrize("name", ["vgg16", "vgg19", "vgg16_bn", "vgg19_bn"])
def test_every_layer_of_torchvision_has_a_name_here(name):
    with torch.device("meta"):
        state = getattr(torchvision.models, name)().state_dict()
        ours = narrow_vgg(
            blocks=BLOCKS_OF[name.removesuffix("_bn")], batch_norm=name.endswith("_bn")
        ).state_dict()
    layers = vgg_layers(BLOCKS_OF[name.removesuffix("_bn")], name.endswith("_bn"))
    found = {
        f"{layers[n.rpartition('.')[0]]}.{n.rpartition('.')[2]}"
        for n in state
        if not n.startswith("classifier.6")
    }
    assert found == {f"encoder.{n}" for n in ours}


BLOCKS_OF = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}


@pytest.mark.parametrize(
    ("pooling", "averaged"), [("max", ()), ("average", (1, 2, 3, 4, 5)), ("source", (1, 2, 3, 4))]
)
def test_pooling(pooling, averaged):
    encoder = narrow_vgg(ModelOptions(pooling=pooling)).eval()
    x = np.arange(16.0, dtype=np.float32).reshape(1, 1, 4, 4)
    windows = x.reshape(1, 1, 2, 2, 2, 2)
    for block in range(1, 6):
        expected = windows.mean((3, 5)) if block in averaged else windows.max((3, 5))
        np.testing.assert_array_equal(encoder._pool(torch.from_numpy(x), block), expected)


def test_dropout_is_after_fc6_and_fc7_and_off_in_eval():
    model = narrow_fcn(options=ModelOptions(dropout=0.75))
    nn.init.ones_(model.head.score["stride32"].weight)
    image = torch.randn(1, 3, 64, 64)
    assert not torch.equal(model.train()(image), model(image))
    assert model.encoder.drop6.p == model.head.dropout.p == 0.75


# --- the published networks, restated from the description of their Caffe nets ---


def published_weights(family, num_classes):
    """Random tensors under the published names, a few channels wide, VGG16's blocks."""
    tensors, width_in = {}, 3

    def add(name, *shape, bias=True, gain=2.0):
        fan_in = int(np.prod(shape[1:]))
        tensors[f"{name}.weight"] = torch.randn(*shape) * (gain / fan_in) ** 0.5
        if bias:
            tensors[f"{name}.bias"] = torch.randn(shape[0]) * 0.2

    for block, (count, width) in enumerate(zip(BLOCKS_OF["vgg16"], WIDTHS, strict=True), start=1):
        for i in range(1, count + 1):
            add(f"conv{block}_{i}", width, width_in, 3, 3)
            width_in = width
    add("fc6", FC_WIDTH, width_in, 7, 7)
    add("fc7", FC_WIDTH, FC_WIDTH, 1, 1)
    add("score_fr", num_classes, FC_WIDTH, 1, 1, gain=1.0)
    up = {"fcn32s": {"upscore": 64}, "fcn16s": {"upscore2": 4, "upscore16": 32}}
    for name, size in up.get(family, {"upscore2": 4, "upscore_pool4": 4, "upscore8": 16}).items():
        tensors[f"{name}.weight"] = torch.randn(num_classes, num_classes, size, size) / size
    if family != "fcn32s":
        add("score_pool4", num_classes, WIDTHS[3], 1, 1, gain=1.0)
    if family == "fcn8s":
        add("score_pool3", num_classes, WIDTHS[2], 1, 1, gain=1.0)
    return tensors


def published_logits(family, w, image, scale4=1.0, scale3=1.0):
    """Caffe's net: conv1_1 padded by 100, pools that round up, fc6 unpadded, crops 5, 9 and 31, 27 or 19."""

    def conv(x, name, padding=0):
        return F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], padding=padding)

    def deconv(x, name, stride):
        return F.conv_transpose2d(x, w[f"{name}.weight"], stride=stride)

    def crop(x, offset, like):
        return x[:, :, offset : offset + like.shape[2], offset : offset + like.shape[3]]

    x, pools = image, {}
    for block, count in enumerate(BLOCKS_OF["vgg16"], start=1):
        for i in range(1, count + 1):
            x = conv(x, f"conv{block}_{i}", 100 if (block, i) == (1, 1) else 1).relu()
        x = pools[block] = F.max_pool2d(x, 2, ceil_mode=True)
    score = conv(conv(conv(x, "fc6").relu(), "fc7").relu(), "score_fr")
    if family == "fcn32s":
        return crop(deconv(score, "upscore", 32), 19, image)
    score = deconv(score, "upscore2", 2)
    score = score + crop(conv(pools[4] * scale4, "score_pool4"), 5, score)
    if family == "fcn16s":
        return crop(deconv(score, "upscore16", 16), 27, image)
    score = deconv(score, "upscore_pool4", 2)
    score = score + crop(conv(pools[3] * scale3, "score_pool3"), 9, score)
    return crop(deconv(score, "upscore8", 8), 31, image)


@pytest.mark.parametrize("size_hw", [(1, 1), (33, 65), (97, 50)], ids=str)
@pytest.mark.parametrize(
    ("family", "at_once"), [("fcn32s", False), ("fcn16s", False), ("fcn8s", False), ("fcn8s", True)]
)
def test_logits_equal_the_published_nets(family, at_once, size_hw, tmp_path):
    torch.manual_seed(1)
    weights = published_weights(family, 5)
    scales = (1.0, 1.0)
    if at_once:
        scales = (0.01, 0.0001)
        weights["score_pool4.weight"] /= scales[0]  # or the skips would hide below the tolerance
        weights["score_pool3.weight"] /= scales[1]
    torch.save(weights, tmp_path / "published.pth")
    options = ModelOptions(padding="reference", at_once=at_once)
    model = narrow_fcn(family, options, blocks=BLOCKS_OF["vgg16"]).eval()
    report = load_weights(model, tmp_path / "published.pth")
    assert report.remade == ()
    assert report.unused == ()
    assert report.normalization == CAFFE_BGR
    image = torch.randn(1, 3, *size_hw)
    with torch.no_grad():
        expected = published_logits(family, weights, image, *scales)
        assert expected.abs().max() > 0.01
        torch.testing.assert_close(model(image), expected, atol=1e-4, rtol=0)


def test_published_weights_load_with_same_padding_and_say_what_differs(tmp_path):
    torch.save({"model_state_dict": published_weights("fcn32s", 5), "epoch": 3}, tmp_path / "fcn32s.pth.tar")
    model = narrow_fcn("fcn8s", blocks=BLOCKS_OF["vgg16"], num_classes=5)
    report = load_weights(model, tmp_path / "fcn32s.pth.tar")
    # FCN-32s into FCN-8s, as the paper trains in stages: the score is kept, the rest of the head made anew.
    assert "head.score.stride32.weight" in report.kept
    assert "head.up.stride32.weight" in report.remade
    assert "head.score.stride8.weight" in report.remade
    assert any("padding='reference'" in note for note in report.notes)
