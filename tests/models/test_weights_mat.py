"""MatConvNet files in both forms, written by scipy, against convolutions computed by scipy."""

import numpy as np
import pytest
import torch
from narrow_fcn import FC_WIDTH, WIDTHS, narrow_fcn
from scipy.io import savemat
from scipy.signal import correlate2d

from sceneparse.errors import InputError
from sceneparse.models import load_weights
from sceneparse.models.matconvnet import read_matconvnet
from sceneparse.normalization import MATCONVNET

BLOCKS = (1, 2, 1, 1, 2)
MEAN = np.array([123.68, 116.779, 103.939])


def layers_in_file_order(blocks=BLOCKS):
    """(name, filters (kw, kh, in, out), biases (1, out)); (name, None, None) for layers without weights."""
    rng = np.random.default_rng(0)
    width_in = 3

    def conv(name, size, width):
        nonlocal width_in
        filters = rng.normal(size=(size, size, width_in, width)).astype(np.float32)
        width_in = width
        return name, filters, rng.normal(size=(1, width)).astype(np.float32)

    for block, (count, width) in enumerate(zip(blocks, WIDTHS, strict=True), start=1):
        for i in range(1, count + 1):
            yield conv(f"conv{block}_{i}", 3, width)
            yield f"relu{block}_{i}", None, None
        yield f"pool{block}", None, None
    yield conv("fc6", 7, FC_WIDTH)
    yield "relu6", None, None
    yield conv("fc7", 1, FC_WIDTH)
    yield "relu7", None, None
    yield conv("fc8", 1, 10)
    yield "prob", None, None


def write(path, form, blocks=BLOCKS, average=None):
    cells = []
    for name, filters, biases in layers_in_file_order(blocks):
        cell = {"name": name, "type": "conv" if filters is not None else "other"}
        if filters is not None and form == "older":
            cell |= {"filters": filters, "biases": biases}
        elif filters is not None:
            pair = np.empty((1, 2), dtype=object)
            pair[0, 0], pair[0, 1] = filters, biases.T  # newer files hold the biases as a column
            cell["weights"] = pair
        elif form == "newer":
            cell["weights"] = np.empty((0, 0))
        cells.append(cell)
    layers = np.empty((1, len(cells)), dtype=object)
    for i, cell in enumerate(cells):
        layers[0, i] = cell
    if average is None:
        average = np.broadcast_to(MEAN, (224, 224, 3)) if form == "older" else MEAN.reshape(1, 1, 3)
    normalization = {"averageImage": average, "imageSize": np.array([[224, 224, 3]])}
    content = (
        {"normalization": normalization} if form == "older" else {"meta": {"normalization": normalization}}
    )
    savemat(path, {"layers": layers, **content})
    return path


@pytest.fixture(params=["older", "newer"])
def mat_file(request, tmp_path):
    return write(tmp_path / "imagenet-vgg.mat", request.param)


def test_all_layers_and_the_mean_are_read(mat_file):
    model = narrow_fcn(blocks=BLOCKS)
    report = load_weights(model, mat_file)
    assert set(report.kept) == {n for n in model.state_dict() if n.startswith("encoder.")}
    assert report.unused == ("fc8.weight", "fc8.bias")
    assert report.remade == model.head_parameter_names()
    assert report.normalization.max_value == 255
    assert report.normalization.std == MATCONVNET.std
    np.testing.assert_allclose(report.normalization.mean, MATCONVNET.mean, atol=1e-4)
    assert "encoder.conv1_1" in str(report)
    assert "RGB 0..255, mean 123.68 116.779 103.939" in str(report)


def test_the_first_convolution_equals_scipys(mat_file):
    model = narrow_fcn(blocks=BLOCKS)
    load_weights(model, mat_file)
    _, filters, biases = next(layers_in_file_order())
    # The usual reader's transposition, giving (height, width, in, out).
    kernels = filters.transpose(1, 0, 2, 3)
    image = np.random.default_rng(1).normal(size=(3, 8, 9)).astype(np.float32)
    expected = [
        sum(correlate2d(image[c], kernels[:, :, c, k], mode="same") for c in range(3)) + biases[0, k]
        for k in range(WIDTHS[0])
    ]
    with torch.no_grad():
        found = model.encoder.conv1_1(torch.from_numpy(image)[None])[0]
    np.testing.assert_allclose(found, np.stack(expected), atol=1e-4)


def test_fc6_equals_a_sum_over_its_window(mat_file):
    model = narrow_fcn(blocks=BLOCKS)
    load_weights(model, mat_file)
    _, filters, biases = next(layer for layer in layers_in_file_order() if layer[0] == "fc6")
    window = np.random.default_rng(2).normal(size=(WIDTHS[-1], 7, 7)).astype(np.float32)
    expected = np.einsum("cyx,xyck->k", window, filters) + biases[0]
    with torch.no_grad():
        found = model.encoder.fc6(torch.from_numpy(window)[None])[0, :, 3, 3]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


def test_the_mean_of_an_image_is_its_spatial_mean(tmp_path):
    average = np.random.default_rng(3).uniform(90, 140, size=(224, 224, 3))
    _, normalization = read_matconvnet(write(tmp_path / "f.mat", "older", average=average))
    np.testing.assert_allclose(normalization.mean, average.mean((0, 1)))


def test_a_file_of_another_depth_names_layers_and_shapes(tmp_path):
    path = write(tmp_path / "vgg16.mat", "newer", blocks=(1, 1, 1, 1, 1))
    model = narrow_fcn(blocks=(1, 2, 1, 1, 2))
    before = model.encoder.conv1_1.weight.clone()
    with pytest.raises(
        InputError, match=r"encoder\.conv2_2\.weight: the network has \(6, 6, 3, 3\), the file nothing"
    ):
        load_weights(model, path)
    assert torch.equal(model.encoder.conv1_1.weight, before)  # nothing half-loaded


def test_a_deeper_file_is_refused_too(tmp_path):
    path = write(tmp_path / "vgg19.mat", "newer", blocks=(2, 1, 1, 1, 1))
    with pytest.raises(
        InputError, match=r"encoder\.conv1_2\.weight: the network has nothing, the file \(4, 4, 3, 3\)"
    ):
        load_weights(narrow_fcn(blocks=(1, 1, 1, 1, 1)), path)


def test_damaged_and_foreign_files_are_named(tmp_path, mat_file):
    whole = mat_file.read_bytes()
    for name, content in {
        "truncated.mat": whole[: len(whole) // 2],
        "empty.mat": b"",
        "foreign.mat": b"\x89PNG\r\n" + bytes(300),
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            load_weights(narrow_fcn(blocks=BLOCKS), tmp_path / name)
    savemat(tmp_path / "other.mat", {"x": np.eye(3)})
    with pytest.raises(InputError, match="no layers with weights"):
        load_weights(narrow_fcn(blocks=BLOCKS), tmp_path / "other.mat")
    with pytest.raises(InputError, match="no such file"):
        load_weights(narrow_fcn(blocks=BLOCKS), tmp_path / "missing.mat")


def test_only_a_vgg_takes_a_mat_file(mat_file):
    from sceneparse.models import build_model

    with pytest.raises(InputError, match="do not fit a network on test_resnet"):
        load_weights(build_model("fcn8s-test_resnet", 3), mat_file)
