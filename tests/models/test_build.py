"""Names to networks: layers, start, and what is refused."""

import math

import pytest
import torch
import torchvision
from narrow_fcn import narrow_fcn

from sceneparse.errors import InputError
from sceneparse.models import ModelOptions, build_model
from sceneparse.models.upsample import Upsampling


def on_meta(name, num_classes=21, **options):
    with torch.device("meta"):
        return build_model(name, num_classes, ModelOptions(**options))


def test_vgg19_has_the_layers_of_the_paper():
    shapes = {n: tuple(t.shape) for n, t in on_meta("fcn8s-vgg19", 150).state_dict().items()}
    assert shapes["encoder.conv1_1.weight"] == (64, 3, 3, 3)
    assert shapes["encoder.conv5_4.weight"] == (512, 512, 3, 3)
    assert shapes["encoder.fc6.weight"] == (4096, 512, 7, 7)
    assert shapes["encoder.fc7.weight"] == (4096, 4096, 1, 1)
    assert shapes["head.score.stride32.weight"] == (150, 4096, 1, 1)
    assert shapes["head.score.stride16.weight"] == (150, 512, 1, 1)
    assert shapes["head.score.stride8.weight"] == (150, 256, 1, 1)
    assert shapes["head.up.stride32.weight"] == (150, 150, 4, 4)
    assert shapes["head.up.stride16.weight"] == (150, 150, 4, 4)
    assert shapes["head.up.stride8.weight"] == (150, 150, 16, 16)


def test_the_wide_decoder_has_the_layers_of_the_tutorial():
    shapes = {
        n: tuple(t.shape) for n, t in on_meta("fcn8s-wide-vgg19", 151).state_dict().items() if "head" in n
    }
    assert shapes == {
        "head.score.stride32.weight": (151, 4096, 1, 1),
        "head.score.stride32.bias": (151,),
        "head.up.stride32.weight": (151, 512, 4, 4),
        "head.up.stride16.weight": (512, 256, 4, 4),
        "head.up.stride8.weight": (256, 151, 16, 16),
    }


@pytest.mark.parametrize(
    "name", ["vgg11", "vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn"]
)
def test_vgg_has_as_many_parameters_as_torchvisions_without_its_classifier(name):
    with torch.device("meta"):
        theirs = getattr(torchvision.models, name)()
    expected = sum(p.numel() for n, p in theirs.named_parameters() if not n.startswith("classifier.6"))
    assert sum(p.numel() for p in on_meta(f"fcn8s-{name}").encoder.parameters()) == expected


@pytest.mark.parametrize(
    ("name", "skip_offset", "image_offset"),
    [("fcn32s-vgg16", {}, 19), ("fcn16s-vgg16", {16: 5}, 27), ("fcn8s-vgg16", {16: 5, 8: 9}, 31)],
)
def test_derived_crops_are_the_published_ones(name, skip_offset, image_offset):
    head = on_meta(name, padding="reference").head
    assert head.skip_offset == skip_offset
    assert head.image_offset == image_offset
    assert on_meta(name).head.image_offset == 0


def test_the_first_loss_is_log_k_and_adam_moves_the_backbone():
    torch.manual_seed(0)
    model = narrow_fcn(num_classes=5)
    before = model.encoder.conv1_1.weight.clone()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    images, labels = torch.randn(2, 3, 32, 32), torch.randint(0, 5, (2, 32, 32))
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(math.log(5), abs=1e-6)
    assert losses[-1] < losses[0]
    assert not torch.equal(model.encoder.conv1_1.weight, before)


def test_scores_are_the_logits_before_the_fixed_upsampling():
    model = narrow_fcn(options=ModelOptions(upsampling="bilinear")).eval()
    torch.nn.init.normal_(model.head.score["stride8"].weight)
    image = torch.randn(1, 3, 37, 53)
    assert model.upsampling((37, 53)) == Upsampling(padded_size_hw=(64, 64))
    with torch.no_grad():
        scores = model.scores(image)
        assert scores.shape == (1, 5, 8, 8)
        up = torch.nn.functional.interpolate(scores, (64, 64), mode="bilinear", align_corners=False)
        torch.testing.assert_close(up[..., :37, :53], model(image))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("fcn8s-resnet5O", {}, "Did you mean 'resnet50'"),
        ("fcn9s-vgg19", {}, "no such head"),
        ("fcn8s", {}, "no backbone"),
        ("fcn8s-vgg16", {"smp": {"decoder_channels": 1}}, "no effect on fcn8s-vgg16"),
        ("smp/unet-resnet18", {"dropout": 0.1}, "dropout=0.1 has no effect on 'smp/unet-resnet18'"),
        ("fcn8s-vit_tiny_patch16_224", {}, "no features at stride 8, 32"),
        ("fcn8s-resnet18", {"pooling": "average"}, "no effect on 'resnet18'"),
        ("fcn8s-resnet18", {"padding": "reference"}, "no effect on 'resnet18'"),
        ("fcn16s-vgg16", {"at_once": True}, "no meaning for fcn16s"),
        ("fcn8s-wide-vgg19", {"upsampling": "bilinear"}, "no effect on fcn8s-wide"),
        ("fcn8s-wide-vgg19", {"padding": "reference"}, "no fcn8s-wide"),
        ("fcn4s-vgg16", {"padding": "reference"}, "no fcn4s"),
        ("fcn8s-vgg16", {"padding": "reference", "upsampling": "bilinear"}, "bilinear upsampling"),
    ],
)
def test_refused(name, options, message):
    with pytest.raises(InputError, match=message):
        build_model(name, 3, ModelOptions(**options))


def test_a_backbone_of_one_image_size_is_refused_when_built():
    with pytest.raises(InputError, match="does not take an image of 32x96"):
        on_meta("fcn8s-maxvit_tiny_tf_224")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"pooling": "avrage"}, "Did you mean 'average'"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"dropout": "0.5"}, "dropout is '0.5'"),
        ({"at_once": "yes"}, "at_once"),
        ({"smp": 3}, "smp is 3"),
        ({"dropuot": 0.1}, "unknown model option 'dropuot'. Did you mean 'dropout'"),
    ],
)
def test_options_are_checked(values, message):
    with pytest.raises(InputError, match=message):
        ModelOptions.from_dict(values)


def test_options_round_trip():
    options = ModelOptions(pooling="source", dropout=0.1, upsampling="bilinear")
    assert ModelOptions.from_dict(options.to_dict()) == options
