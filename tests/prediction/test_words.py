"""Which word of ``predict [MODEL] INPUT...`` is the model, and what is said of those that are nothing."""

from pathlib import Path

import pytest

from sceneparse.cli import main, parse
from sceneparse.deploy import shipped
from sceneparse.errors import InputError
from sceneparse.prediction.words import model_and_inputs


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A working folder with photos, a run, a bundle, a run without a model; camvid-small is shipped."""
    for name in ("package/camvid-small", "here/photos", "here/run/model", "here/bundle", "here/killed"):
        (tmp_path / name).mkdir(parents=True)
    for name in (
        *("package/camvid-small/config.json", "package/camvid-small/model.safetensors"),
        *("here/photos/a.jpg", "here/street.jpg", "here/run/curves.png", "here/run/config.yaml"),
        *("here/run/model/config.json", "here/run/model/model.safetensors", "here/killed/config.yaml"),
        *("here/bundle/config.json", "here/bundle/model.safetensors", "here/best.ckpt"),
    ):
        (tmp_path / name).write_bytes(b"")
    monkeypatch.setattr(shipped, "SHIPPED", tmp_path / "package")
    monkeypatch.chdir(tmp_path / "here")


@pytest.mark.parametrize(
    ("words", "model", "inputs"),
    [
        ("street.jpg", None, "street.jpg"),
        ("photos street.jpg", None, "photos street.jpg"),
        ("photos/*.jpg", None, "photos/*.jpg"),
        ("gone.jpg", None, "gone.jpg"),  # which find_inputs names
        ("run street.jpg", "run", "street.jpg"),
        ("run/model photos", "run/model", "photos"),
        ("bundle street.jpg photos", "bundle", "street.jpg photos"),
        ("killed street.jpg", "killed", "street.jpg"),  # which find_bundle names
        ("camvid-small street.jpg", "camvid-small", "street.jpg"),
        ("smp-hub/any street.jpg", "smp-hub/any", "street.jpg"),
    ],
)
def test_what_is_the_model(words, model, inputs):
    assert model_and_inputs(words.split()) == (model, inputs.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("run", "this is a model, and no photos are named"),
        ("camvid-small", "this is a model, and no photos are named"),
        ("killed", "this is a model, and no photos are named"),
        ("street.jpg run", "only the first word can be the model"),
        ("street.jpg camvid-small", "sceneparse predict camvid-small PHOTO"),
        ("run bundle", "only the first word can be the model"),
        ("best.ckpt street.jpg", "a file of weights"),
        ("camvid-smal street.jpg", "Did you mean 'camvid-small'?"),
        ("runs/gone street.jpg", "neither a model nor photos"),
        ("gone", "neither a model nor photos"),
    ],
)
def test_what_is_wrong(words, said, capsys):
    with pytest.raises(InputError) as raised:
        model_and_inputs(words.split())
    assert said in str(raised.value)
    assert main(["predict", *words.split(), "--out", "out"]) == 2
    assert said in capsys.readouterr().err
    assert not Path("out").exists()


def test_photos_in_a_folder_that_is_called_as_a_model():
    Path("camvid-small").mkdir()
    with pytest.raises(InputError, match="the name of a shipped model, and something else") as raised:
        model_and_inputs(["camvid-small", "street.jpg"])
    assert raised.value.fix is not None
    written = raised.value.fix.split("write ")[1].split(";")[0]
    assert model_and_inputs([written, "street.jpg"]) == (None, [written, "street.jpg"])
    Path("camvid-small", "config.yaml").write_text("")
    assert model_and_inputs(["camvid-small", "street.jpg"]) == ("camvid-small", ["street.jpg"])


@pytest.mark.parametrize(
    "line",
    [
        *("run street.jpg photos --out o", "run --out o street.jpg photos", "--out o run street.jpg photos"),
        *("run street.jpg --out o photos", "run --out o --flip street.jpg photos"),
    ],
)
def test_flags_may_stand_anywhere(line):
    options = parse(["predict", *line.split()])
    words = [*filter(None, [options.model]), *options.inputs]
    assert words == ["run", "street.jpg", "photos"]


def test_without_any_word(capsys):
    assert main(["predict", "--out", "o"]) == 2
    assert "required: INPUT" in capsys.readouterr().err
