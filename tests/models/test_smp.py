"""Architectures of segmentation_models.pytorch against that package's own, and what is refused."""

import json
import sys

import pytest
import timm
import torch
from hub_cache import put_in_cache
from huggingface_hub import constants

from sceneparse.errors import InputError
from sceneparse.models import ModelOptions, build_model, load_weights, model_from_architecture
from sceneparse.models.upsample import Upsampling
from sceneparse.normalization import Normalization

smp = pytest.importorskip(
    "segmentation_models_pytorch", reason="segmentation-models-pytorch is not installed: pip install it"
)


def theirs(arch, encoder, **arguments):
    return smp.create_model(arch, encoder, encoder_weights=None, classes=4, **arguments).eval()


@pytest.mark.parametrize(
    ("arch", "encoder", "scores_hw"),
    [
        ("Unet", "tu-test_resnet", (64, 96)),
        ("FPN", "mobilenet_v2", (16, 24)),
        ("PSPNet", "tu-test_resnet", (8, 12)),
        ("DeepLabV3Plus", "tu-test_resnet", (16, 24)),
        ("UPerNet", "tu-test_convnext", (16, 24)),
        ("Segformer", "mit_b0", (16, 24)),
        ("DPT", "tu-test_vit", (32, 48)),
    ],
)
def test_logits_are_theirs(arch, encoder, scores_hw):
    """From the same weights, under the same names."""
    torch.manual_seed(0)
    arguments = {"dynamic_img_size": True} if arch == "DPT" else {}
    their_model = theirs(arch, encoder, **arguments)
    model = build_model(f"smp/{arch}-{encoder}", 4).eval()
    model.load_state_dict(their_model.state_dict())
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(model(images), their_model(images), atol=1e-5, rtol=1e-5)
        assert model.scores(images).shape == (1, 4, *scores_hw)
    assert model.architecture["name"] == f"smp/{arch.lower()}-{encoder}"


def test_stochastic_depth_reaches_timms_backbone():
    model = build_model("smp/upernet-tu-test_convnext", 3, ModelOptions(smp={"drop_path_rate": 0.4}))
    rates = [module.drop_prob for module in model.modules() if hasattr(module, "drop_prob")]
    assert max(rates) == pytest.approx(0.4)


def test_images_are_padded_to_what_the_architecture_takes():
    model = build_model("smp/pan-tu-test_resnet", 1).eval()
    assert model.upsampling((1, 150)) == Upsampling(padded_size_hw=(128, 256), align_corners=True)
    with torch.no_grad():
        assert model(torch.randn(2, 3, 1, 150)).shape == (2, 1, 1, 150)


def test_parameters_that_nothing_depends_on_are_not_learned():
    """PSPNet ends at stride 8, after the second of four stages."""
    model = build_model("smp/pspnet-resnet18", 3)
    model.train()(torch.randn(2, 3, 64, 64)).square().mean().backward()
    learned = {n for n, p in model.named_parameters() if p.requires_grad}
    assert learned == {n for n, p in model.named_parameters() if p.grad is not None}
    assert 0 < len(learned) < len(list(model.parameters()))


def test_further_arguments_travel_with_the_architecture():
    model = build_model("smp/fpn-tu-test_resnet", 3, ModelOptions(smp={"decoder_pyramid_channels": 24}))
    assert model.decoder.p5.out_channels == 24
    again = model_from_architecture(model.architecture)
    assert again.decoder.p5.out_channels == 24
    assert again.architecture == model.architecture


def test_shapes_alone_draw_no_random_numbers():
    """mit_b0 cannot be built on "meta"; whoever wants shapes must not notice."""
    before = torch.get_rng_state()
    with torch.device("meta"):
        build_model("smp/segformer-mit_b0", 3)
        assert next(build_model("smp/fpn-tu-test_resnet", 3).parameters()).is_meta
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("smp/unett-resnet18", {}, r"unknown architecture 'unett' .*Did you mean 'unet'"),
        ("smp/unet-resnt34", {}, "unknown encoder 'resnt34'. Did you mean 'resnet34'"),
        ("smp/unet-tu-convnext_tinyy", {}, "Did you mean 'tu-convnext_tiny'"),
        ("smp/unet", {}, "no encoder is named"),
        ("smp/unetplusplus-mit_b0", {}, "does not make unetplusplus on 'mit_b0'"),
        ("smp/deeplabv3-vgg11", {}, "does not make deeplabv3 on 'vgg11'"),
        ("smp/dpt-resnet18", {}, "DPT takes vision transformers of timm's"),
        ("smp/unet-tu-maxvit_tiny_tf_224", {}, "does not take an image of 33x97"),
        (
            "smp/fpn-tu-test_resnet",
            {"decoder_piramid_channels": 8},
            "mean 'decoder_pyramid_channels'",
        ),
        ("smp/fpn-tu-test_resnet", {"in_channels": 4}, "no argument 'in_channels'"),
        ("smp/fpn-mobilenet_v2", {"drop_path_rate": 0.1}, "no argument 'drop_path_rate'"),
        ("smp/fpn-tu-test_resnet", {"decoder_merge_policy": "ad"}, "does not make fpn"),
    ],
)
def test_refused(name, arguments, message):
    with torch.device("meta"), pytest.raises(InputError, match=message):
        build_model(name, 3, ModelOptions(smp=arguments))


def test_without_the_package_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(InputError, match=r"pip install 'sceneparse\[smp\]'"):
        build_model("smp/unet-resnet18", 3)


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """The hub's cache, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path


def test_imagenet_weights_of_smps_encoders(cache):
    """A classifier's file, with what smp says of its pixels: here blue first, 0..255."""
    torch.manual_seed(1)
    settings = smp.encoders.encoders["resnet18"]["pretrained_settings"]["imagenet"]
    tensors = smp.encoders.get_encoder("resnet18").state_dict()
    tensors |= {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}
    config = {"mean": [1, 2, 3], "std": [4, 5, 6], "input_space": "BGR", "input_range": [0, 255]}
    put_in_cache(cache, settings["repo_id"], tensors, settings["revision"], config)
    model = build_model("smp/unet-resnet18", 3)
    report = load_weights(model, "imagenet")
    assert torch.equal(model.encoder.layer4[1].conv2.weight, tensors["layer4.1.conv2.weight"])
    assert report.normalization == Normalization(mean=(3, 2, 1), std=(6, 5, 4), max_value=255.0, bgr=True)
    assert report.source == settings["repo_id"]
    assert {n.partition(".")[0] for n in report.kept} == {"encoder"}
    assert {n.partition(".")[0] for n in report.remade} == {"decoder", "segmentation_head"}


@pytest.mark.parametrize(
    ("arch", "backbone", "tensor", "place"),
    [
        ("fpn", "test_resnet.r160_in1k", "layer3.0.conv1.weight", "model.layer3.0.conv1.weight"),
        ("dpt", "test_vit.r160_in1k", "blocks.1.mlp.fc1.weight", "model.blocks.1.mlp.fc1.weight"),
    ],
)
def test_imagenet_weights_of_timms_encoders(cache, arch, backbone, tensor, place):
    theirs = timm.create_model(backbone).state_dict()
    put_in_cache(cache, f"timm/{backbone}", theirs)
    model = build_model(f"smp/{arch}-tu-{backbone.partition('.')[0]}", 3)
    report = load_weights(model, "imagenet")
    assert torch.equal(model.encoder.state_dict()[place], theirs[tensor])
    assert report.source == backbone
    assert report.normalization == Normalization(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def test_weights_that_are_not_there(cache, tmp_path):
    model = build_model("smp/fpn-tu-test_resnet", 3)
    with pytest.raises(InputError, match=r"timm/test_resnet.r160_in1k are not in the cache .*HF_HUB_OFFLINE"):
        load_weights(model, "imagenet")
    with pytest.raises(InputError, match=r"smp-hub/mit_b0.imagenet are not in the cache"):
        load_weights(build_model("smp/segformer-mit_b0", 3), "imagenet")
    with pytest.raises(InputError, match="no such weights for smp/fpn-tu-test_resnet"):
        load_weights(model, tmp_path / "weights.pth")


def test_a_damaged_file_in_the_cache_is_named(cache):
    settings = smp.encoders.encoders["resnet18"]["pretrained_settings"]["imagenet"]
    put_in_cache(cache, settings["repo_id"], {"x": torch.zeros(1)}, settings["revision"], {"mean": 3})
    model = build_model("smp/fpn-resnet18", 3)
    with pytest.raises(InputError, match="description of the weights cannot be read"):
        load_weights(model, "imagenet")
    (config,) = cache.rglob("config.json")
    config.write_text(json.dumps({"mean": [1, 2, 3], "std": [4, 5, 6]}))
    with pytest.raises(InputError, match="the weights do not fit the encoder"):
        load_weights(model, "imagenet")


def test_older_names_of_timms_encoders():
    model = build_model("smp/fpn-timm-regnetx_002", 3)
    assert model.architecture["name"] == "smp/fpn-tu-regnetx_002"
