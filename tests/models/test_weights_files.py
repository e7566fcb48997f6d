"""PyTorch and safetensors files, timm by name, and our own networks with another head."""

import os
import pickle
import socket

import pytest
import timm
import torch
from hub_cache import put_in_cache, timms_vgg
from narrow_fcn import narrow_fcn, randomized
from safetensors.torch import save_file

from sceneparse.errors import InputError
from sceneparse.models import build_model, hub, load_matching, load_weights
from sceneparse.normalization import IMAGENET, MATCONVNET, Normalization


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """An empty cache and a resolver that knows no names."""

    def unknown(*_):
        raise socket.gaierror(-2, "Name or service not known")

    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "getproxies", dict)
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    return tmp_path / "hub"


@pytest.mark.parametrize(
    ("backbone", "form"),
    [("test_resnet", "pth"), ("test_convnext", "safetensors"), ("test_efficientnet", "pth")],
)
def test_a_timm_file_gives_timms_features(backbone, form, tmp_path):
    torch.manual_seed(0)
    theirs = timm.create_model(backbone)
    path = tmp_path / f"weights.{form}"
    (torch.save if form == "pth" else save_file)(theirs.state_dict(), path)
    model = build_model(f"fcn8s-{backbone}", 3).eval()
    report = load_weights(model, path)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = theirs.eval().forward_intermediates(image, intermediates_only=True)
        for stride, found in model.encoder(image).items():
            same_size = [e for e in expected if e.shape == found.shape]
            assert any(torch.allclose(found, e, atol=1e-5) for e in same_size), stride
    assert all(name.startswith("head.") for name in report.remade)
    assert report.unused


def test_a_file_of_another_backbone_names_layers_and_shapes(tmp_path):
    torch.save(timm.create_model("test_resnet").state_dict(), tmp_path / "r.pth")
    with pytest.raises(InputError, match=r"the network has \(\d+.*, the file nothing"):
        load_weights(build_model("fcn8s-test_convnext", 3), tmp_path / "r.pth")
    with pytest.raises(InputError, match="not weights of a VGG"):
        load_weights(narrow_fcn(), tmp_path / "r.pth")


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("harm-done",)


def test_a_pickle_with_code_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Harmful()}, tmp_path / "zip.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Harmful(), protocol=2))
    for name in ("zip.pth", "plain.pth"):
        with pytest.raises(InputError, match=name):
            load_weights(narrow_fcn(), tmp_path / name)
    with pytest.raises(InputError, match="weights_only=True"):
        load_weights(narrow_fcn(), tmp_path / "zip.pth")
    assert not (tmp_path / "harm-done").exists()


def test_a_whole_saved_module_is_explained(tmp_path):
    torch.save(torch.nn.Conv2d(1, 1, 1), tmp_path / "module.pth")
    with pytest.raises(InputError, match="holds Python objects"):
        load_weights(narrow_fcn(), tmp_path / "module.pth")


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_damaged_and_foreign_files_are_named(tmp_path, suffix):
    whole = tmp_path / f"whole.{suffix}"
    tensors = {"features.0.weight": torch.randn(40, 3, 3, 3)}
    (torch.save if suffix == "pth" else save_file)(tensors, whole)
    content = whole.read_bytes()
    for name, damaged in {
        "truncated": content[: len(content) // 2],
        "empty": b"",
        "text": b"<html>404 not found</html>",
        "garbage": bytes(range(256)) * 4,
    }.items():
        path = tmp_path / f"{name}.{suffix}"
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=name):
            load_weights(narrow_fcn(), path)


def test_other_wrong_files(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_weights(narrow_fcn(), tmp_path / "imagnet")
    with pytest.raises(InputError, match="found a folder"):
        load_weights(narrow_fcn(), tmp_path)
    torch.save([torch.zeros(2)], tmp_path / "list.pth")
    with pytest.raises(InputError, match="found a list"):
        load_weights(narrow_fcn(), tmp_path / "list.pth")
    torch.save({"epoch": 3}, tmp_path / "none.pth")
    with pytest.raises(InputError, match="no tensors by name"):
        load_weights(narrow_fcn(), tmp_path / "none.pth")
    torch.save(narrow_fcn().state_dict(), tmp_path / "ours.pth")
    with pytest.raises(InputError, match="folder instead of the file"):
        load_weights(narrow_fcn(), tmp_path / "ours.pth")


def test_imagenet_comes_from_the_cache_without_a_network(no_network):
    theirs = timm.create_model("test_resnet")
    put_in_cache(no_network, "timm/test_resnet.r160_in1k", theirs.state_dict())
    model = build_model("fcn8s-test_resnet", 3)
    report = load_weights(model, "imagenet")
    assert torch.equal(model.encoder.body.layer3[0].conv1.weight, theirs.layer3[0].conv1.weight)
    assert report.source == "test_resnet.r160_in1k"
    # timm's configuration of these weights: mean and deviation 0.5.
    assert report.normalization == Normalization(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def test_imagenet_for_vgg_maps_timms_layers(no_network):
    model = narrow_fcn(blocks=(2, 2, 3, 3, 3))
    tensors = timms_vgg(model.state_dict(), (2, 2, 3, 3, 3))
    put_in_cache(no_network, "timm/vgg16.tv_in1k", tensors | {"head.fc.weight": torch.randn(10, 16)})
    report = load_weights(model, "imagenet")
    assert torch.equal(model.encoder.conv5_3.weight, tensors["features.28.weight"])
    assert torch.equal(model.encoder.fc6.weight, tensors["pre_logits.fc1.weight"])
    assert torch.equal(model.encoder.fc7.bias, tensors["pre_logits.fc2.bias"])
    assert report.normalization == IMAGENET
    assert report.source == "vgg16.tv_in1k"
    assert report.unused == ("head.fc.weight",)


def test_without_a_network_the_error_says_what_to_do(no_network):
    with pytest.raises(InputError) as caught:
        load_weights(narrow_fcn(), "imagenet")
    message = str(caught.value)
    assert "timm/vgg16.tv_in1k" in message
    assert str(no_network) in message
    assert "models--timm--vgg16.tv_in1k" in message


def test_hub_offline_is_respected(no_network, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="HF_HUB_OFFLINE is set"):
        load_weights(narrow_fcn(), "imagenet")


def test_an_unknown_weight_tag_is_refused(no_network):
    with pytest.raises(InputError, match=r"Invalid pretrained tag \(nosuch\)"):
        load_weights(build_model("fcn8s-test_resnet.nosuch", 3), "imagenet")


def test_values_that_are_not_numbers_are_refused(tmp_path):
    source = narrow_fcn().state_dict()
    source["encoder.fc6.weight"][0, 0, 0, 0] = float("nan")
    with pytest.raises(InputError, match=r"encoder\.fc6\.weight holds values that are not finite"):
        load_matching(narrow_fcn(), source, source="RUN", normalization=IMAGENET)


def test_our_own_weights_load_whole():
    source = randomized(narrow_fcn())
    model = narrow_fcn()
    report = load_matching(model, source.state_dict(), source="RUN", normalization=MATCONVNET)
    assert all(
        torch.equal(a, b)
        for a, b in zip(source.state_dict().values(), model.state_dict().values(), strict=True)
    )
    assert report.remade == report.unused == ()
    assert report.normalization == MATCONVNET


def test_another_class_list_keeps_the_body_and_makes_the_head_anew():
    source = randomized(narrow_fcn(num_classes=5)).state_dict()
    model = narrow_fcn(num_classes=7)
    with pytest.raises(
        InputError, match=r"head\.score\.stride32\.weight: the network has \(7, 16, 1, 1\), the file \(5, 16"
    ):
        load_matching(model, source, source="RUN", normalization=IMAGENET)
    report = load_matching(model, source, source="RUN", normalization=IMAGENET, head_may_differ=True)
    assert torch.equal(model.encoder.fc7.weight, source["encoder.fc7.weight"])
    assert report.remade == model.head_parameter_names()
    assert not model.head.score["stride32"].weight.any()  # as fresh

    same_size = narrow_fcn(num_classes=5)
    report = load_matching(same_size, source, source="RUN", normalization=IMAGENET, same_classes=False)
    assert report.remade == same_size.head_parameter_names()
    assert not same_size.head.score["stride32"].weight.any()


def test_stages_of_the_paper_keep_the_scores():
    source = randomized(narrow_fcn("fcn32s")).state_dict()
    model = narrow_fcn("fcn16s")
    report = load_matching(model, source, source="RUN", normalization=IMAGENET, head_may_differ=True)
    assert torch.equal(model.head.score["stride32"].weight, source["head.score.stride32.weight"])
    assert set(report.remade) == {
        "head.score.stride16.weight",
        "head.score.stride16.bias",
        "head.up.stride32.weight",
        "head.up.stride16.weight",
    }


def test_another_body_is_refused():
    source = narrow_fcn(blocks=(1, 1, 1, 1, 1)).state_dict()
    with pytest.raises(InputError, match=r"encoder\.conv2_2\.weight"):
        load_matching(
            narrow_fcn(blocks=(1, 2, 1, 1, 1)),
            source,
            source="RUN",
            normalization=IMAGENET,
            head_may_differ=True,
        )
