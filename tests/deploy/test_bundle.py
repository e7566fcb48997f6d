"""A bundle comes back as it was written, and a damaged one is named."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sceneparse.data.preprocess import ResizePolicy
from sceneparse.deploy.bundle import Bundle, find_bundle, half_of, load_model, read_bundle, write_bundle
from sceneparse.errors import InputError
from sceneparse.labels import camvid
from sceneparse.models import ModelOptions, build_model
from sceneparse.normalization import CAFFE_BGR


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    options = ModelOptions(upsampling="bilinear", dropout=0.25)
    return build_model("fcn8s-test_efficientnet", 11, options).eval()


@pytest.fixture
def folder(network, tmp_path):
    bundle = Bundle(
        architecture=network.architecture,
        labels=camvid(),
        resize=ResizePolicy(mode="squash", size=(96, 128)),
        normalization=CAFFE_BGR,
        licence="CC BY-NC, é",
        scores={"mean_iou": 0.5, "step": 3},
    )
    write_bundle(tmp_path / "run" / "model", bundle, network.state_dict())
    return tmp_path / "run" / "model"


def test_round_trip(network, folder):
    loaded, bundle = load_model(folder)
    assert bundle.labels == camvid()
    assert bundle.resize == ResizePolicy(mode="squash", size=(96, 128))
    assert bundle.normalization == CAFFE_BGR
    assert (bundle.licence, bundle.scores) == ("CC BY-NC, é", {"mean_iou": 0.5, "step": 3})
    assert not loaded.training
    images = torch.randn(1, 3, 40, 56)
    with torch.no_grad():
        assert torch.equal(loaded(images), network(images))


def test_half_is_rounding_and_nothing_else(network, folder):
    """Weights come back as numpy rounds them, biases and statistics of batch norm as they were."""
    whole = (folder / "model.safetensors").stat().st_size
    bundle, _ = read_bundle(folder)
    write_bundle(folder, bundle, network.state_dict(), half=True)
    assert (folder / "model.safetensors").stat().st_size < 0.6 * whole
    loaded, again = load_model(folder)
    assert again == bundle
    rounded = 0
    for name, tensor in loaded.state_dict().items():
        before = network.state_dict()[name]
        assert tensor.dtype == before.dtype, name
        if before.dim() < 2:
            assert torch.equal(tensor, before), name
        else:
            np.testing.assert_array_equal(
                tensor.numpy(), before.numpy().astype(np.float16).astype(np.float32)
            )
            rounded += not torch.equal(tensor, before)
    assert rounded > 10
    # What is made of it is kept as it is.
    assert {t.dtype for t in load_file(folder / "model.safetensors").values()} == {
        *(torch.float16, torch.float32, torch.int64),
    }


@pytest.mark.parametrize("wrong", [1e5, -7e4, float("inf"), float("nan")])
def test_half_leaves_what_float16_cannot_hold(wrong):
    tensor = torch.ones(3, 2, 1, 1)
    assert half_of(tensor).dtype == torch.float16
    tensor[1, 0] = wrong
    assert half_of(tensor).dtype == torch.float32


def test_half_leaves_a_channel_that_would_lose_digits():
    """Below 6e-5 float16 has ever fewer digits: here 1e-6, batch norm may bring back to size."""
    tensor = torch.full((3, 20), 0.1)
    tensor[2] = torch.linspace(0.9e-6, 1.1e-6, 20)
    assert half_of(tensor).dtype == torch.float32
    tensor[2] = 0  # a dead channel is exact
    assert half_of(tensor).dtype == torch.float16
    tensor[2] = torch.tensor([0.1, *[1e-7] * 19])  # beside a weight of usual size, small ones do not count
    assert half_of(tensor).dtype == torch.float16


def test_a_run_folder_is_its_bundle(folder):
    assert find_bundle(folder.parent) == folder
    assert find_bundle(folder) == folder


def test_loading_draws_no_random_numbers(folder):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    load_model(folder)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("keep", [0, 5, 1000, -1])
def test_truncated_weights(folder, keep):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match="the weights cannot be read") as caught:
        load_model(folder)
    assert str(path) in str(caught.value)


def changed(folder, change):
    path = folder / "config.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: values.update(format="other"), "not a sceneparse bundle"),
        (lambda values: values.update(version=99), "reads up to 1"),
        (lambda values: values.pop("version"), "cannot be read"),
        (lambda values: values.pop("classes"), "cannot be read"),
        (lambda values: values["classes"][0].pop("color"), "cannot be read"),
        (lambda values: values.update(preprocessing=3), "cannot be read"),
        (lambda values: values["preprocessing"]["resize"].update(mode="x"), "mode"),
        (lambda values: values["architecture"].update(num_classes=12), "do not fit the architecture: .*11"),
        (lambda values: values["architecture"].update(name="fcn8s-vgg20"), "unknown backbone"),
        (lambda values: values["architecture"].pop("options"), "cannot be read"),
        (lambda values: values.update(architecture="fcn"), "cannot be read"),
    ],
)
def test_damaged_configuration(folder, change, message):
    changed(folder, change)
    with pytest.raises(InputError, match=message):
        load_model(folder)


@pytest.mark.parametrize("text", ["", "[]", "{", '"x"'])
def test_a_configuration_that_is_none(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(InputError):
        read_bundle(folder)


def test_missing_and_other_tensors_are_named(folder, network):
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    first = next(iter(state))
    save_file({name: tensor for name, tensor in state.items() if name != first}, folder / "model.safetensors")
    with pytest.raises(InputError, match=f"do not fit the architecture: {first}"):
        load_model(folder)


def test_no_bundle(tmp_path, folder):
    with pytest.raises(InputError, match="no such model"):
        find_bundle(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no model here"):
        find_bundle(tmp_path)
    (tmp_path / "config.yaml").write_text("{}")
    with pytest.raises(InputError, match="this run has no model yet"):
        find_bundle(tmp_path)


@pytest.mark.parametrize(
    ("lost", "kept"), [("model.safetensors", "config.json"), ("config.json", "model.safetensors")]
)
def test_half_a_bundle(folder, lost, kept):
    (folder / lost).unlink()
    for model in (folder, folder.parent):
        with pytest.raises(InputError, match=f"half of a bundle: only {kept} is there") as raised:
            find_bundle(model)
        assert raised.value.where == folder


def test_another_writing_leaves_the_first_until_it_is_whole(folder, network, monkeypatch):
    from sceneparse.deploy import bundle as module

    before = (folder / "model.safetensors").read_bytes()
    bundle, _ = read_bundle(folder)

    def killed(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        write_bundle(folder, bundle, network.state_dict())
    assert (folder / "model.safetensors").read_bytes() == before
    load_model(folder)
