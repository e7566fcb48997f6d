"""Engines: one network, several ways to compute it; what is kept beside the bundle, and when it is used."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import sceneparse
from sceneparse.cli import main
from sceneparse.data.decode import read_image
from sceneparse.deploy.bundle import CONFIG, WEIGHTS, load_model
from sceneparse.errors import InputError
from sceneparse.kernels import compiler
from sceneparse.lock import process_lock
from sceneparse.models import ModelOptions
from sceneparse.models.build import assemble
from sceneparse.models.vgg import VGG
from sceneparse.prediction import aot, artefact, engine, openvino, precision
from sceneparse.prediction.artefact import MANIFEST, Shelf
from sceneparse.prediction.folding import TRACING, folded

ENVIRONMENT = dict(os.environ)
"""Of the tests, with the kernels in their cache."""


@pytest.fixture
def bundle(scene_run, tmp_path, monkeypatch) -> Path:
    """A copy of a trained network, and an empty cache."""
    (tmp_path / "cache").mkdir()
    # The compiled kernels stay: making them anew takes seconds.
    kept = compiler.kernels()
    monkeypatch.setattr(compiler, "kernels", lambda: kept)
    monkeypatch.setenv("SCENEPARSE_CACHE", str(tmp_path / "cache"))
    return Path(shutil.copytree(scene_run / "model", tmp_path / "bundle"))


@pytest.fixture
def photos(scene_data) -> list[np.ndarray]:
    return [read_image(path) for path in sorted((scene_data / "photos" / "b").glob("*.png"))]


@pytest.fixture
def made(bundle, monkeypatch) -> list[Path]:
    """Compiling in no time: a file, which loading answers with the folded network. Where it was made."""
    made: list[Path] = []

    def write(body, size_hw, folder):
        made.append(folder)
        (folder / aot.FILE).write_bytes(b"machine code" * 100)

    def body_of(folder):
        assert (folder / aot.FILE).read_bytes() == b"machine code" * 100
        network = folded(load_model(bundle)[0])
        return torch.no_grad()(network.body)

    monkeypatch.setattr(aot, "write_compiled", write)
    monkeypatch.setattr(aot, "body_of", body_of)
    return made


def agreement(predictor, other, photos) -> float:
    same = [(predictor(photo).labels == other(photo).labels).ravel() for photo in photos]
    return float(np.concatenate(same).mean())


def artefacts(folder: Path, kind: str = "compiled") -> list[Path]:
    return sorted(folder.glob(f"engine-{kind}-*"))


# ---------------------------------------------------------------------- labels


def test_packed_is_the_default_and_agrees(bundle, photos):
    plain = sceneparse.load(bundle, device="cpu", engine="eager")
    assert plain.engine == "eager"
    fast = sceneparse.load(bundle, device="cpu")
    assert fast.engine == "packed, float32"
    assert agreement(fast, plain, photos) > 0.999
    for options in ({"flip": True}, {"scales": (0.5, 1.5)}, {"tile": 64}):
        same = fast(photos[1], **options).labels == plain(photos[1], **options).labels
        assert same.mean() > 0.999, options


def test_folded_network_is_found_without_building_it(bundle, photos, monkeypatch):
    first = sceneparse.load(bundle, device="cpu")
    assert len(artefacts(bundle, "folded")) == 1
    with monkeypatch.context() as context:
        context.setattr(engine, "load_model", lambda model: pytest.fail("the network is built"))
        again = sceneparse.load(bundle, device="cpu")
    assert again.engine == first.engine
    assert agreement(again, first, photos) == 1
    change_weights(bundle, monkeypatch)
    third = sceneparse.load(bundle, device="cpu")
    assert len(artefacts(bundle, "folded")) == 1
    assert agreement(third, sceneparse.load(bundle, device="cpu", engine="eager"), photos) > 0.999


def test_the_second_process_needs_no_timm(bundle, photos):
    sceneparse.load(bundle, device="cpu")
    code = (
        "import sys, sceneparse, numpy; predictor = sceneparse.load(sys.argv[1], device='cpu'); "
        "predictor(numpy.zeros((40, 40, 3), numpy.uint8)); "
        "print({'timm', 'torchvision', 'torch._dynamo', 'torch._inductor', 'sympy'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, str(bundle)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert done.stdout == "set()\n"


def test_unknown_engine(bundle):
    with pytest.raises(InputError, match="Did you mean 'compiled'"):
        sceneparse.load(bundle, engine="compile")


def test_engines_of_the_processor_on_a_gpu(bundle, monkeypatch):
    with pytest.raises(InputError, match="computes on the processor"):
        engine.load_engine(bundle, torch.device("cuda"), "compiled")


def test_command_line(bundle, made, scene_data, tmp_path, capsys):
    for verb in (
        ["predict", str(bundle), str(scene_data / "photos" / "b"), "--out", str(tmp_path / "out")],
        ["evaluate", str(bundle), str(scene_data)],
    ):
        assert main([*verb, "--engine", "compiled", "--device", "cpu"]) == 0
    assert len(made) == 1
    said = capsys.readouterr()
    assert said.err.count("preparing the engine compiled") == 1


def test_a_predictor_has_its_engine(bundle, scene_data):
    predictor = sceneparse.load(bundle, device="cpu")
    with pytest.raises(InputError, match="engine has no effect on a Predictor"):
        sceneparse.evaluate(predictor, scene_data, engine="eager")


# ---------------------------------------------------------------------- kept beside the bundle


def test_made_once_then_found_without_the_network(bundle, made, photos, monkeypatch):
    plain = sceneparse.load(bundle, device="cpu", engine="eager")
    first = sceneparse.load(bundle, device="cpu", engine="compiled")
    assert first.engine == "compiled"
    assert agreement(first, plain, photos) > 0.999
    assert first(photos[0], flip=True).labels.shape == photos[0].shape[:2]
    (kept,) = artefacts(bundle)
    assert not kept.stat().st_mode & 0o022
    monkeypatch.setattr(engine, "load_model", lambda model: pytest.fail("the network is built"))
    for name in ("compiled", "auto"):
        again = sceneparse.load(bundle, device="cpu", engine=name)
        assert again.engine == "compiled"
        assert agreement(again, first, photos) == 1
    assert len(made) == 1
    assert not again.takes_several, "it has one lock"


def change_weights(bundle, monkeypatch):
    data = bytearray((bundle / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (bundle / WEIGHTS).write_bytes(data)


def change_configuration(bundle, monkeypatch):
    config = json.loads((bundle / CONFIG).read_text())
    (bundle / CONFIG).write_text(json.dumps(config | {"licence": "another"}))


def change_version(bundle, monkeypatch):
    version = artefact.metadata.version
    monkeypatch.setattr(artefact.metadata, "version", lambda name: version(name) + ".1")


def change_source(bundle, monkeypatch):
    source = bundle.parent / "source"
    source.mkdir()
    (source / "vgg.py").write_text("other code")
    monkeypatch.setattr(artefact, "_CODE", (source,))


def change_compiler(bundle, monkeypatch):
    kept = compiler.kernels()
    monkeypatch.setattr(compiler, "kernels", lambda: kept._replace(said="compiled by another"))


def change_processor(bundle, monkeypatch):
    monkeypatch.setattr(compiler, "processor", lambda: "another")


@pytest.mark.parametrize(
    "change",
    [
        *(change_weights, change_configuration, change_version, change_source, change_compiler),
        change_processor,
    ],
)
def test_made_anew_where_anything_it_depends_on_has_changed(change, bundle, made, monkeypatch):
    sceneparse.load(bundle, device="cpu", engine="compiled")
    change(bundle, monkeypatch)
    assert sceneparse.load(bundle, device="cpu").engine == "packed, float32", "the old one is not used"
    assert sceneparse.load(bundle, device="cpu", engine="compiled").engine == "compiled"
    assert len(made) == 2
    # A home folder may be shared by machines.
    assert len(artefacts(bundle)) == (2 if change is change_processor else 1)


@pytest.mark.parametrize("damage", ["cut off", "gone", "other", "no manifest", "broken manifest"])
def test_a_damaged_artefact_is_made_anew(damage, bundle, made):
    sceneparse.load(bundle, device="cpu", engine="compiled")
    (kept,) = artefacts(bundle)
    code = kept / aot.FILE
    if damage == "cut off":
        code.write_bytes(code.read_bytes()[:50])
    elif damage == "gone":
        code.unlink()
    elif damage == "other":
        code.write_bytes(b"x" * code.stat().st_size)
    elif damage == "no manifest":
        (kept / MANIFEST).unlink()
    else:
        (kept / MANIFEST).write_text("[]")
    assert sceneparse.load(bundle, device="cpu").engine == "packed, float32"
    assert sceneparse.load(bundle, device="cpu", engine="compiled").engine == "compiled"
    assert len(made) == 2


@pytest.mark.skipif(os.name != "posix", reason="no owners and modes of this kind")
@pytest.mark.parametrize("trouble", ["writable folder", "writable file", "owner"])
def test_what_others_could_have_written_is_not_loaded(trouble, bundle, made, monkeypatch):
    sceneparse.load(bundle, device="cpu", engine="compiled")
    (kept,) = artefacts(bundle)
    if trouble == "writable folder":
        kept.chmod(0o777)
    elif trouble == "writable file":
        (kept / aot.FILE).chmod(0o666)
    elif os.geteuid() == 0:
        os.chown(kept / aot.FILE, 12345, -1)
    else:
        monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert sceneparse.load(bundle, device="cpu").engine == "packed, float32"


def refuse(monkeypatch, places):
    copy = artefact._copy

    def refusing(made, place, name, **options):
        if any(place.is_relative_to(refused) for refused in places):
            raise OSError(errno.EROFS, "Read-only file system")
        return copy(made, place, name, **options)

    monkeypatch.setattr(artefact, "_copy", refusing)


def test_a_bundle_that_cannot_be_written_to(bundle, made, tmp_path, monkeypatch):
    refuse(monkeypatch, [bundle])
    for _ in range(2):
        assert sceneparse.load(bundle, device="cpu", engine="compiled").engine == "compiled"
    assert len(made) == 1
    assert not artefacts(bundle)
    assert len(list((tmp_path / "cache").rglob(aot.FILE))) == 1
    assert sceneparse.load(bundle, device="cpu").engine == "compiled"


def test_no_place_at_all(bundle, made, tmp_path, monkeypatch, capsys, photos):
    refuse(monkeypatch, [bundle, tmp_path / "cache"])
    predictor = sceneparse.load(bundle, device="cpu", engine="compiled")
    assert predictor.engine == "packed, float32"
    assert "without the engine compiled: [Errno 30] Read-only file system" in capsys.readouterr().err
    assert predictor(photos[0]).labels.shape == photos[0].shape[:2]


def test_without_a_compiler(bundle, monkeypatch, capsys):
    monkeypatch.setattr(aot, "compiler", lambda: None)
    assert sceneparse.load(bundle, device="cpu", engine="compiled").engine == "packed, float32"
    said = capsys.readouterr().err
    assert said.count("warning:") == 1
    assert "no C++ compiler found" in said
    assert not artefacts(bundle)


def test_another_process_is_at_it(bundle, made, capsys):
    """The lock is between open files: it holds within a process too."""
    lock = Shelf(bundle, "compiled").places[1].with_suffix(".lock")
    lock.parent.mkdir(parents=True)
    with process_lock(lock):
        assert sceneparse.load(bundle, device="cpu", engine="compiled").engine == "packed, float32"
    assert "another process is preparing it" in capsys.readouterr().err
    assert not made
    assert sceneparse.load(bundle, device="cpu", engine="compiled").engine == "compiled"


def test_two_at_once_make_one(bundle, made):
    found = []

    def work():
        found.append(sceneparse.load(bundle, device="cpu", engine="compiled").engine)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert "compiled" in found
    assert len(artefacts(bundle)) == 1


def test_heavy_networks_are_packed_instead(bundle, made, monkeypatch):
    monkeypatch.setattr(engine, "HEAVY_BYTES", 1000)
    assert sceneparse.load(bundle, device="cpu", engine="compiled").engine == "packed, float32"
    assert not made


# ---------------------------------------------------------------------- bfloat16


def test_the_faster_precision_is_found_out_once(bundle, photos, monkeypatch):
    plain = sceneparse.load(bundle, device="cpu", engine="eager")
    monkeypatch.setattr(precision, "has_units", lambda: True)
    times = iter([0.2, 0.1])  # float32 first
    monkeypatch.setattr(precision, "_seconds", lambda call, image: next(times))
    for _ in range(2):  # the second time without timing
        fast = sceneparse.load(bundle, device="cpu")
        assert fast.engine == "packed, bfloat16"
    assert agreement(fast, plain, photos) > 0.98
    assert len(artefacts(bundle, "precision")) == 1
    change_weights(bundle, monkeypatch)
    times = iter([0.1, 0.2])
    monkeypatch.setattr(precision, "_seconds", lambda call, image: next(times))
    slow = sceneparse.load(bundle, device="cpu")
    assert slow.engine == "packed, float32"
    assert agreement(slow, plain, photos) > 0.99


def test_no_place_for_the_choice(bundle, tmp_path, monkeypatch):
    refuse(monkeypatch, [bundle, tmp_path / "cache"])
    monkeypatch.setattr(precision, "has_units", lambda: True)
    monkeypatch.setattr(precision, "_seconds", lambda call, image: 0.1)
    assert sceneparse.load(bundle, device="cpu").engine == "packed, float32"


# ---------------------------------------------------------------------- the real ones


def test_openvino(bundle, photos, capsys):
    if openvino.version() is None:
        pytest.skip("the package openvino is not installed")
    plain = sceneparse.load(bundle, device="cpu", engine="eager")
    for _ in range(2):
        fast = sceneparse.load(bundle, device="cpu", engine="openvino")
        assert fast.engine == "openvino", capsys.readouterr().err
        assert agreement(fast, plain, photos) > 0.999
    assert capsys.readouterr().err.count("preparing") == 1


def test_openvino_is_not_installed(bundle, monkeypatch):
    monkeypatch.setattr(openvino, "version", lambda: None)
    with pytest.raises(InputError, match=r"pip install 'sceneparse\[openvino\]'"):
        sceneparse.load(bundle, device="cpu", engine="openvino")


def test_nothing_else_is_traced_while_one_is_compiled(monkeypatch, tmp_path):
    """A network folded by another thread meanwhile left every module of the process broken."""
    held = []

    def export(*_, **__):
        held.append(TRACING.locked())
        raise RuntimeError("far enough")

    monkeypatch.setattr(torch.export, "export", export)
    monkeypatch.setattr(aot, "compiler", lambda: "g++")
    with pytest.raises(RuntimeError, match="far enough"):
        aot.write_compiled(nn.Conv2d(3, 3, 1), (8, 8), tmp_path)
    assert held == [True]
    assert not TRACING.locked()


@pytest.mark.skipif(aot.compiler() is None, reason="no C++ compiler on this machine")
def test_compiled_ahead_of_time(tmp_path):
    """A network of few layers, one of them by our own kernels, and sizes that it was not compiled for."""
    torch.manual_seed(0)
    vgg = VGG((1, 1, 1, 1, 1), widths=(4, 32, 32, 4, 4), fc_width=8)
    network = assemble("fcn32s", vgg, 3, ModelOptions()).eval()
    nn.init.normal_(network.head.score["stride32"].weight)
    body = folded(network).body
    aot.write_compiled(engine.packed.with_packed(body, (64, 96), onednn=False), (64, 96), tmp_path)
    found = aot.body_of(tmp_path)
    with torch.no_grad():
        for batch, height, width in ((1, 64, 96), (1, 32, 32), (2, 96, 64)):
            image = torch.randn(batch, 3, height, width)
            wanted = network.scores(image)
            assert (found(image) - wanted).abs().max() <= 1e-5 * wanted.abs().max()
