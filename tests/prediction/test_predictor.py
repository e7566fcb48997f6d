"""Predictor: any picture in, labels in the data set's own numbers out."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from PIL import Image, ImageOps
from torch import nn

import sceneparse
from sceneparse.data.cache import PixelCache
from sceneparse.data.dataset import open_dataset
from sceneparse.data.decode import read_image, read_mask, read_picture
from sceneparse.data.loader import to_tensor
from sceneparse.data.preprocess import ResizePolicy
from sceneparse.deploy.bundle import Bundle
from sceneparse.errors import InputError
from sceneparse.labels import LabelSet, label_set_from_names
from sceneparse.models.upsample import upsampled_argmax
from sceneparse.normalization import IMAGENET
from sceneparse.prediction.inference import averaged_logits, normalized
from sceneparse.prediction.predictor import Predictor

LABELS = LabelSet(
    names=("sky", "ground", "house"),
    file_numbers=(3, 7, 200),
    palette=((90, 150, 250), (110, 90, 50), (200, 60, 50)),
    ignored=(0,),
)


@pytest.fixture(scope="module")
def predictor(scene_run) -> Predictor:
    return sceneparse.load(scene_run, device="cpu")


def test_contract(predictor, scene_data):
    """DESIGN: labels uint8 (H, W) in the data set's own numbers, names, palette, overlay(), shares()."""
    path = scene_data / "photos" / "b" / "größe 1.png"
    result = predictor(path)
    assert isinstance(predictor, sceneparse.Predictor)
    assert isinstance(result, sceneparse.Segmentation)
    assert result.labels.dtype == np.uint8
    assert result.labels.shape == (40, 72)
    assert set(np.unique(result.labels)) <= {3, 7, 200}
    assert result.names == ("sky", "ground", "house")
    assert len(result.palette) == 3
    assert result.overlay().mode == "RGB"
    assert sum(result.shares().values()) == pytest.approx(1)
    truth = read_mask(scene_data / "labels" / "b" / "größe 1.png")
    assert (result.labels == truth)[truth > 0].mean() > 0.8, "the numbers are those of the mask files"


def test_path_pillow_and_array_are_one_picture(predictor, scene_data):
    path = scene_data / "photos" / "b" / "größe 0.png"
    expected = predictor(path).labels
    pixels = read_image(path)
    frozen = pixels.copy()
    frozen.flags.writeable = False
    for picture in (str(path), Image.open(path), pixels, frozen, np.asfortranarray(pixels)):
        np.testing.assert_array_equal(predictor(picture).labels, expected)
    np.testing.assert_array_equal(predictor(pixels[:, ::-1]).labels.shape, expected.shape)


def test_training_evaluation_and_prediction_see_the_same_pixels(resized_run, scene_data, tmp_path):
    """Large JPEGs, one of them turned by EXIF, which are decoded at reduced scale: to the pixel the same."""
    exif = Image.Exif()
    exif[0x0112] = 8
    for i, turned in enumerate([False, True]):
        for folder, kind, filter in (("photos", "images", "BICUBIC"), ("labels", "masks", "NEAREST")):
            picture = Image.open(scene_data / folder / "b" / f"größe {i}.png")
            large = picture.resize((picture.width * 7 + 3, picture.height * 7 + 1), Image.Resampling[filter])
            (tmp_path / kind / "val").mkdir(parents=True, exist_ok=True)
            if kind == "masks":
                large.save(tmp_path / kind / "val" / f"{i}.png")
            elif turned:
                stored = large.transpose(Image.Transpose.ROTATE_270)
                stored.save(tmp_path / kind / "val" / f"{i}.jpg", exif=exif)
            else:
                large.save(tmp_path / kind / "val" / f"{i}.jpg")
    said = {
        "val": {"images": "images/val", "masks": "masks/val"},
        "classes": {3: "sky", 7: "ground", 200: "house"},
    }
    said["ignore"] = [0]
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump(said), encoding="utf-8")
    predictor = sceneparse.load(resized_run, device="cpu")
    seen = []
    predictor.model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()))

    dataset = open_dataset(tmp_path)
    sceneparse.evaluate(predictor, dataset)
    evaluated, seen[:] = list(seen), []
    results = [predictor(pair.image) for pair in dataset.split("val")]
    predicted, seen[:] = list(seen), []
    cache = PixelCache.open(
        dataset,
        "val",
        predictor.resize,
        mask_size="own",
        folder=tmp_path / "cache",
        workers=1,
        progress=False,
    )
    for i, pair in enumerate(dataset.split("val")):
        assert read_picture(pair.image, target=predictor.resize.target_size).scale == 4
        assert torch.equal(evaluated[i], predicted[i])
        cached = to_tensor(cache[i][0])[None]
        assert torch.equal(evaluated[i], normalized(cached, predictor.bundle.normalization, predictor.device))
        assert results[i].labels.shape == read_image(pair.image).shape[:2]
        np.testing.assert_array_equal(results[i].image, read_image(pair.image))
        whole = predictor(Image.open(pair.image)).labels
        assert (whole == results[i].labels).mean() > 0.98


def test_every_kind_of_photo(predictor, scene_data, tmp_path):
    """Grey, 16-bit, palette, RGBA, CMYK, EXIF-rotated: labels of the upright picture's size."""
    photo = Image.open(scene_data / "photos" / "b" / "größe 1.png")  # 40 high, 72 wide
    exif = Image.Exif()
    exif[0x0112] = 6
    grey16 = Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 257)
    for name, picture, options in (
        ("grey.png", photo.convert("L"), {}),
        ("grey16.png", grey16, {}),
        ("palette.gif", photo.convert("P"), {}),
        ("alpha.png", photo.convert("RGBA"), {}),
        ("cmyk.jpg", photo.convert("CMYK"), {}),
        ("bits.png", photo.convert("1"), {}),
    ):
        picture.save(tmp_path / name, **options)
        assert predictor(tmp_path / name).labels.shape == (40, 72), name
    photo.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    turned = predictor(tmp_path / "turned.jpg").labels
    assert turned.shape == (72, 40)
    ImageOps.exif_transpose(Image.open(tmp_path / "turned.jpg")).save(tmp_path / "upright.png")
    np.testing.assert_array_equal(turned, predictor(tmp_path / "upright.png").labels)
    np.testing.assert_array_equal(
        predictor(tmp_path / "alpha.png").labels,
        predictor(scene_data / "photos" / "b" / "größe 1.png").labels,
    )


@pytest.mark.parametrize("size_hw", [(1, 1), (37, 1001), (1, 300), (300, 1), (31, 33)])
@pytest.mark.parametrize("which", ["scene_run", "resized_run"])
def test_any_size(which, size_hw, request):
    predictor = sceneparse.load(request.getfixturevalue(which), device="cpu")
    result = predictor(np.full((*size_hw, 3), 90, np.uint8), flip=True, scales=(0.5, 1.0))
    assert result.labels.shape == size_hw
    assert result.overlay().size[0] >= 1


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
        None,
        torch.zeros(3, 4, 4),
    ],
)
def test_no_picture(predictor, picture):
    with pytest.raises(InputError, match=r"uint8 \(H, W, 3\)"):
        predictor(picture)


@pytest.mark.parametrize(
    "options",
    [
        *({"tile": 5}, {"tile": -1}, {"tile": True}, {"tile": "big"}),
        *({"scales": ()}, {"scales": (0.0,)}, {"scales": (float("nan"),)}),
    ],
)
def test_options_without_meaning(predictor, options):
    with pytest.raises(InputError, match=next(iter(options))):
        predictor(np.zeros((4, 4, 3), np.uint8), **options)


@pytest.mark.parametrize("device", ["cuda:7", "gpu", "mps", "cuda:-1", ""])
def test_no_such_device(scene_run, device):
    with pytest.raises(InputError, match="device"):
        sceneparse.load(scene_run, device=device)


def linear_network(classes: int) -> nn.Module:
    """Sees neighbours, so that mirroring and scaling matter."""
    torch.manual_seed(3)
    return nn.Conv2d(3, classes, 5, padding=2)


def bundle_of(labels: LabelSet, policy: ResizePolicy) -> Bundle:
    return Bundle(architecture={}, labels=labels, resize=policy, normalization=IMAGENET)


def test_labels_are_the_argmax_of_upsampled_logits():
    """A naive re-statement: resize with Pillow, normalize by hand, upsample, arg-max, look up the number."""
    network = linear_network(3)
    predictor = Predictor(network, bundle_of(LABELS, ResizePolicy(mode="short-side", size=24)), device="cpu")
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    small = np.asarray(Image.fromarray(image).resize((36, 24), Image.Resampling.BILINEAR)) / 255
    pixels = (small - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    with torch.no_grad():
        logits = network(torch.tensor(pixels, dtype=torch.float32).permute(2, 0, 1)[None])
        full = F.interpolate(logits, (60, 90), mode="bilinear", align_corners=False)[0]
    expected = np.array([3, 7, 200])[full.argmax(0).numpy()]
    agree = predictor(image).labels == expected
    top = full.topk(2, dim=0).values
    clear = (top[0] - top[1] > 1e-4).numpy()
    assert agree[clear].all()
    assert clear.mean() > 0.99


def test_more_than_255_classes():
    labels = label_set_from_names([f"class {i}" for i in range(300)], first_number=1000)
    predictor = Predictor(linear_network(300), bundle_of(labels, ResizePolicy(mode="none")), device="cpu")
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    result = predictor(image)
    assert result.labels.dtype == np.uint16
    assert result.labels.min() >= 1000
    np.testing.assert_array_equal(predictor(image, tile=64).labels, result.labels)


@pytest.mark.parametrize(("scales", "flip"), [((1.0,), True), ((0.5, 1.0, 1.5), False), ((0.75, 2.0), True)])
def test_averaged_logits(scales, flip):
    """Against the definition, one picture at a time: the mean of the probabilities of every view."""
    network = linear_network(4).eval()
    images = torch.randn(2, 3, 21, 34, generator=torch.Generator().manual_seed(0))
    views = []
    with torch.no_grad():
        for scale in scales:
            size = (round(21 * scale), round(34 * scale))
            for mirrored in {False, flip}:
                view = torch.flip(images, [3]) if mirrored else images
                if size != (21, 34):
                    view = F.interpolate(view, size, mode="bilinear", antialias=scale < 1)
                logits = network(view)
                logits = torch.flip(logits, [3]) if mirrored else logits
                views.append(F.interpolate(logits, (21, 34), mode="bilinear").softmax(1))
    expected = torch.stack(views).mean(0)
    found = averaged_logits(network, images, scales, flip)
    torch.testing.assert_close(found.exp(), expected, rtol=1e-5, atol=1e-6)


def test_averaging_of_hopeless_classes():
    """Logits 300 apart: probabilities underflow to 0, whose logarithm must not become nan, which wins."""

    def network(images):
        logits = torch.zeros(1, 3, *images.shape[2:])
        logits[:, 1] = 300
        logits[:, 2] = -300
        return logits

    found = averaged_logits(network, torch.zeros(1, 3, 8, 8), (1.0,), True)
    assert found.isfinite().all()
    assert (upsampled_argmax(found, (20, 20)) == 1).all()


def test_threads_share_a_predictor(predictor, scene_data):
    paths = sorted((scene_data / "photos" / "b").glob("*.png"))
    expected = [predictor(path).labels for path in paths]
    found: dict[int, np.ndarray] = {}

    def work(i):
        found[i] = predictor(paths[i]).labels

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(paths))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, labels in enumerate(expected):
        np.testing.assert_array_equal(found[i], labels)


def test_too_little_memory_says_what_helps():
    class Greedy(nn.Module):
        def forward(self, images):
            return torch.empty(1 << 50)

    predictor = Predictor(Greedy(), bundle_of(LABELS, ResizePolicy(mode="none")), device="cpu")
    with pytest.raises(InputError, match="--tile 512"):
        predictor(np.zeros((4, 4, 3), np.uint8))


def test_our_own_mistakes_are_not_called_too_little_memory():
    class Broken(nn.Module):
        def forward(self, images):
            raise RuntimeError("sizes do not match")

    predictor = Predictor(Broken(), bundle_of(LABELS, ResizePolicy(mode="none")), device="cpu")
    with pytest.raises(RuntimeError, match="sizes do not match"):
        predictor(np.zeros((4, 4, 3), np.uint8))


def test_pillow_picture_that_is_cut_off(predictor):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8)).save(
        buffer, "PNG"
    )
    with pytest.raises(InputError, match="damaged or cut off"):
        predictor(Image.open(io.BytesIO(buffer.getvalue()[:2000])))


def test_no_model(tmp_path):
    with pytest.raises(InputError, match="no such model"):
        sceneparse.load(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no model here"):
        sceneparse.load(Path(tmp_path))
