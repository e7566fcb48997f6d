"""Folders that segmentation_models.pytorch writes itself, loaded as bundles; the hub is its cache on disk."""

import hashlib
import http.server
import json
import shutil
import threading

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from huggingface_hub import constants

from sceneparse.data.preprocess import ResizePolicy
from sceneparse.deploy.bundle import load_model, read_bundle, read_configuration
from sceneparse.errors import InputError
from sceneparse.labels import ade20k, cityscapes_train_ids
from sceneparse.normalization import IMAGENET, Normalization
from sceneparse.prediction.predictor import load

smp = pytest.importorskip(
    "segmentation_models_pytorch", reason="segmentation-models-pytorch is not installed: pip install it"
)


def saved(folder, arch, encoder, classes, **arguments):
    torch.manual_seed(0)
    model = smp.create_model(arch, encoder, encoder_weights=None, classes=classes, **arguments).eval()
    for parameter in model.segmentation_head.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
    model.save_pretrained(folder)
    return model


def write_preprocessing(folder, *steps):
    transform = {"__class_fullname__": "Compose", "p": 1.0, "transforms": list(steps)}
    text = json.dumps({"__version__": "1.4.14", "transform": transform})
    (folder / "albumentations_config_eval.json").write_text(text)


RESIZE = {"__class_fullname__": "Resize", "p": 1, "height": 64, "width": 96, "interpolation": 1}
NORMALIZE = {
    "__class_fullname__": "Normalize",
    "p": 1,
    "mean": [123.675, 116.28, 103.53],
    "std": [58.395, 57.12, 57.375],
    "max_pixel_value": 1.0,
    "normalization": "standard",
}


@pytest.fixture(scope="module")
def segformer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints") / "segformer-b0-512x512-ade-160k"
    model = saved(folder, "segformer", "mit_b0", 150, decoder_segmentation_channels=16)
    write_preprocessing(folder, RESIZE, NORMALIZE)
    return folder, model


def test_predictions_are_theirs(segformer):
    """smp's own way: resize, normalize, logits, interpolate, arg-max, plus 1 for the numbers of ADE20K."""
    folder, their_model = segformer
    predictor = load(folder, device="cpu")
    picture = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)  # no resize: another question
    result = predictor(picture)
    mean, std = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
    pixels = torch.from_numpy((picture - mean) / std).permute(2, 0, 1)[None].float()
    with torch.no_grad():
        logits = their_model(pixels)
    best = logits.topk(2, dim=1).values[0]
    clear = (best[0] - best[1] > 1e-4).numpy()
    assert clear.mean() > 0.99
    assert (result.labels[clear] == logits.argmax(1)[0].numpy()[clear] + 1).all()
    assert len(np.unique(result.labels)) > 3
    assert predictor.labels == ade20k()
    assert predictor.resize == ResizePolicy(mode="squash", size=(64, 96))


def test_vision_transformers_take_any_size(tmp_path):
    arguments = {"decoder_fusion_channels": 16, "decoder_intermediate_channels": (16, 16, 16, 16)}
    their_model = saved(tmp_path / "dpt", "dpt", "tu-test_vit", 7, **arguments, dynamic_img_size=True)
    network, bundle = load_model(tmp_path / "dpt")
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(network(images), their_model(images), atol=1e-5, rtol=1e-5)
        assert network(torch.randn(1, 3, 1, 45)).shape == (1, 7, 1, 45)
    assert bundle.labels.names == tuple(f"class {i}" for i in range(7))
    assert bundle.resize == ResizePolicy()
    assert bundle.normalization == Normalization(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


@pytest.mark.parametrize(("arch", "encoder"), [("pan", "tu-test_resnet"), ("segformer", "mit_b0")])
def test_every_engine_gives_the_same(tmp_path, arch, encoder):
    """PAN's images are padded to other sizes than those of the rest."""
    saved(tmp_path, arch, encoder, 9)
    picture = np.random.default_rng(1).integers(0, 256, (130, 170, 3), np.uint8)
    plain, usual = (load(tmp_path, device="cpu", engine=e)(picture).labels for e in ("eager", "auto"))
    assert (plain == usual).mean() > 0.999
    assert len(np.unique(plain)) > 1


def test_one_class_is_an_object_and_its_background(tmp_path):
    """And what else smp may put there, labels of whole images and a softmax, does not matter."""
    their_model = saved(
        tmp_path / "one", "fpn", "tu-test_resnet", 1, activation="sigmoid", aux_params={"classes": 4}
    )
    network, bundle = load_model(tmp_path / "one")
    images = torch.randn(1, 3, 32, 64)
    with torch.no_grad():
        probability, _ = their_model(images)
        found = network(images).softmax(1)
    torch.testing.assert_close(found[:, 1:], probability, atol=1e-5, rtol=1e-5)
    assert torch.equal(found.argmax(1) == 1, probability[:, 0] > 0.5)
    assert bundle.labels.names == ("background", "object")


def test_a_class_list_by_the_folders_name(tmp_path):
    saved(tmp_path / "fpn-city", "fpn", "tu-test_resnet", 19)
    assert read_configuration(tmp_path / "fpn-city").labels == cityscapes_train_ids()


def test_what_the_checkpoint_expects_of_pictures(tmp_path):
    folder = tmp_path / "fpn"
    saved(folder, "fpn", "resnet18", 2)
    assert read_configuration(folder).normalization == IMAGENET
    steps = {
        "long-side": {"__class_fullname__": "albumentations.geometric.LongestMaxSize", "max_size": 480},
        "short-side": {"__class_fullname__": "SmallestMaxSize", "max_size": 256},
    }
    usual = {**NORMALIZE, "mean": [0.5, 0.4, 0.3], "std": [0.1, 0.2, 0.3], "max_pixel_value": 255.0}
    for mode, step in steps.items():
        write_preprocessing(folder, step, usual, {"__class_fullname__": "PadIfNeeded"})
        bundle = read_configuration(folder)
        assert bundle.resize == ResizePolicy(mode=mode, size=step["max_size"])
        assert bundle.normalization == Normalization(mean=(0.5, 0.4, 0.3), std=(0.1, 0.2, 0.3))
    write_preprocessing(folder, {"__class_fullname__": "CLAHE"})
    with pytest.raises(InputError, match="prepared by CLAHE"):
        read_configuration(folder)
    write_preprocessing(folder, {"__class_fullname__": "Normalize", "mean": 3})
    with pytest.raises(InputError, match="cannot be read"):
        read_configuration(folder)


def in_cache(cache, repository, source):
    folder = cache / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc")
    shutil.copytree(source, folder / "snapshots" / "abc")


def test_by_name_from_the_hub_or_its_cache(segformer, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    name = "smp-hub/segformer-b0-512x512-ade-160k"
    with pytest.raises(InputError, match=rf"{name} are not in the cache .*HF_HUB_OFFLINE"):
        load_model(name)
    in_cache(tmp_path, name, segformer[0])
    bundle, state = read_bundle(name)
    assert bundle == read_configuration(segformer[0])
    assert torch.equal(state["segmentation_head.0.bias"], segformer[1].segmentation_head[0].bias)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"_model_class": "Unett"}, "Did you mean 'unet'"),
        ({"encoder_name": "resnet17"}, "unknown encoder 'resnet17'"),
        ({"in_channels": 1}, "images of 1 channels"),
        ({"decoder_pyramid_channels": 8}, "do not fit the architecture"),
        ({"decoder_merge": 8}, "no argument 'decoder_merge'"),
        ({"classes": None}, "cannot be read"),
    ],
)
def test_damaged(tmp_path, change, message):
    saved(tmp_path, "fpn", "tu-test_resnet", 3)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=message):
        load_model(tmp_path)


def test_aligned_corners_matter(segformer):
    """What a network of this package would do with the same scores is not the same."""
    network, _ = load_model(segformer[0])
    with torch.no_grad():
        images = torch.randn(1, 3, 64, 96)
        other = F.interpolate(network.scores(images), (64, 96), mode="bilinear", align_corners=False)
        assert (network(images).argmax(1) != other.argmax(1)).float().mean() > 0.01


class Hub(http.server.BaseHTTPRequestHandler):
    """The hub's answers for the files of one folder."""

    folder = None

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.wfile.write(self.answer())

    def answer(self):
        path = self.folder / self.path.partition("/resolve/main/")[2]
        content = path.read_bytes() if path.is_file() else b""
        self.send_response(200 if content else 404)
        if not content:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        return content

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("complete", [True, False], ids=["whole", "without preprocessing"])
def test_by_name_from_a_server(tmp_path, monkeypatch, complete):
    saved(tmp_path / "there", "fpn", "tu-test_resnet", 150)
    if complete:
        write_preprocessing(tmp_path / "there", RESIZE, NORMALIZE)
    handler = type("Handler", (Hub,), {"folder": tmp_path / "there"})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    try:
        _, fetched = load_model("smp-hub/fpn-test")
    finally:
        server.shutdown()
        server.server_close()
    network, bundle = load_model("smp-hub/fpn-test")  # from the cache
    assert bundle == fetched
    assert network.architecture["name"] == "smp/fpn-tu-test_resnet"
    assert bundle.labels == ade20k()
    assert bundle.resize.size == ((64, 96) if complete else None)
