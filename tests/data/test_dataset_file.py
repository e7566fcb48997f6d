"""dataset.yaml: every key, every way to say a thing, and every way to say it wrong."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from sceneparse.data import dataset_file
from sceneparse.data.classes import SourceClasses
from sceneparse.data.dataset_file import SplitFiles, parse_yaml, read_dataset_file
from sceneparse.errors import InputError
from sceneparse.labels import camvid


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "dataset.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def said(folder: Path, text: str):
    return read_dataset_file(written(folder, text))


def message(folder: Path, text: str | bytes) -> str:
    path = written(folder, text)
    with pytest.raises(InputError) as caught:
        read_dataset_file(path)
    assert str(caught.value.where) == str(path)
    assert caught.value.fix
    assert len(str(caught.value)) < 2000
    return str(caught.value)


# ---------------------------------------------------------------------- what can be said


def test_nothing_has_to_be_said(tmp_path):
    file = said(
        tmp_path, "path:\ntrain: ~\nignore:\nmerge: null\nclass_weights:\nclasses:\nuncovered:\nform:\n"
    )
    assert (file.root, file.path) == (tmp_path, tmp_path / "dataset.yaml")
    assert (file.splits, file.form, file.classes, file.uncovered) == ({}, None, None, None)
    assert (file.ignore, file.merge, file.class_weights) == ((), {}, {})


@pytest.mark.parametrize(
    ("classes", "numbers", "names", "colors"),
    [
        ("[sky, road]", (0, 1), ("sky", "road"), (None, None)),
        ("{7: sky, 300: road}", (7, 300), ("sky", "road"), (None, None)),
        ("{0: sky}", (0,), ("sky",), (None,)),
        ("[' sky ', 'yes', '1']", (0, 1, 2), ("sky", "yes", "1"), (None,) * 3),
        (
            "[{number: 2, name: sky, color: [1, 2, 3]}, {name: road, number: 4}]",
            (2, 4),
            ("sky", "road"),
            ((1, 2, 3), None),
        ),
        (
            "[{name: sky, color: [1, 2, 3]}, {name: road, color: [0, 0, 255]}]",
            (0, 1),
            ("sky", "road"),
            ((1, 2, 3), (0, 0, 255)),
        ),
    ],
)
def test_ways_to_say_classes(tmp_path, classes, numbers, names, colors):
    assert said(tmp_path, f"classes: {classes}").classes == SourceClasses(
        names=names, numbers=numbers, colors=colors
    )


def test_classes_in_a_file_and_of_the_package(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nsky:1,2,3::\nroad:4,5,6::\n"
    )
    classes = said(tmp_path, "path: deep\nclasses: labelmap.txt").classes
    assert (classes.names, classes.colors) == (("sky", "road"), ((1, 2, 3), (4, 5, 6)))
    assert said(tmp_path, "label_set: camvid").classes == SourceClasses.of(camvid())
    assert "Did you mean 'camvid'?" in message(tmp_path, "label_set: camvids")
    text = message_of(lambda: said(tmp_path, "classes: nowhere.txt"))
    assert str(tmp_path / "nowhere.txt") in text


def message_of(call) -> str:
    with pytest.raises(InputError) as caught:
        call()
    return str(caught.value)


def test_splits(tmp_path):
    (tmp_path / "pairs.txt").write_text("a.jpg b.png\n")
    file = said(
        tmp_path,
        "train: {images: a, masks: b}\nval: {images: [a, /c], masks: [b, 'd\\e'], list: names.txt}\n"
        "test: {list: pairs.txt}",
    )
    assert file.splits == {
        "train": SplitFiles(images=(tmp_path / "a",), masks=(tmp_path / "b",)),
        "val": SplitFiles(
            images=(tmp_path / "a", Path("/c")),
            masks=(tmp_path / "b", tmp_path / "d/e"),
            names=tmp_path / "names.txt",
        ),
        "test": SplitFiles(pairs=((tmp_path / "a.jpg", tmp_path / "b.png"),)),
    }


def test_the_rest(tmp_path):
    file = said(
        tmp_path,
        "path: ~/x\nform: per-class\nignore: [255, void]\nmerge: {car: [car, van], all: [a]}\n"
        "uncovered: ignore\nclass_weights: {car: 2, 'no': 0, sky: 0.5}\n",
    )
    assert file.root == Path.home() / "x"
    assert (file.form, file.ignore, file.uncovered) == ("per-class", (255, "void"), "ignore")
    assert file.merge == {"car": ("car", "van"), "all": ("a",)}
    assert file.class_weights == {"car": 2.0, "no": 0.0, "sky": 0.5}
    assert said(tmp_path, "ignore: 0").ignore == (0,)
    assert said(tmp_path, "ignore: void").ignore == ("void",)


def test_labels_come_from_the_file_or_from_what_is_found(tmp_path):
    found = SourceClasses.numbered(["sky", "road", "background"])
    source, labels = said(tmp_path, "ignore: [road]").labels(lambda: found)
    assert (source.names, source.uncovered, labels.names) == (found.names, 2, ("sky", "background"))
    file = said(tmp_path, "classes: [x]")
    assert file.labels(lambda: pytest.fail("asked for what is said"))[1].names == ("x",)
    text = message_of(lambda: said(tmp_path, "merge: {a: [b]}").labels(lambda: found))
    assert f"where: {tmp_path / 'dataset.yaml'}" in text


# ---------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("clases: [a]", "Did you mean 'classes'?"),
        ("1: a", "unknown key 1"),
        ("train: {image: a, masks: b}", "Did you mean 'images'?"),
        ("train: a", "train must say where"),
        ("train: {images: a}", "masks are not given"),
        ("train: {masks: a}", "images are not given"),
        ("train: {}", "images are not given"),
        ("train: {images: [a, b], masks: c}", "2 folders of images and 1 of masks"),
        ("train: {images: 3, masks: c}", "train.images must be a path; got 3"),
        ("train: {images: [a, ~], masks: [c, d]}", "must be a path; got None"),
        ("train: {images: '', masks: c}", "must be a path"),
        ('train: {images: "a\\0b", masks: c}', "must be a path"),
        ("train: {images: a, masks: c, list: [x]}", "train.list must be a path"),
        ("path: 3", "path must be a path; got 3"),
        ("path: ~nobody-is-called-so/x", "no such user"),
        ("form: colour", "Did you mean 'color'?"),
        ("form: [index]", "unknown form"),
        ("uncovered: 3", "uncovered must be"),
        ("ignore: [1.5]", "whole number"),
        ("ignore: [-1]", "whole number"),
        ("ignore: [true]", "whole number"),
        ("ignore: [70000]", "whole number"),
        ("ignore: {a: b}", "whole number"),
        ("classes: []", "list of names"),
        ("classes: {}", "list of names"),
        ("classes: 5", "list of names"),
        ("classes: [sky, yes]", "quotes"),
        ("classes: [sky, 3]", "quotes"),
        ("classes: [sky, ' ']", "is not text"),
        ('classes: ["\\ud800"]', "is not text"),
        ("classes: [sky, sky]", "given twice: sky"),
        ("classes: {1: sky, 1: road}", "given twice: 1"),
        ("classes: {a: sky}", "whole number"),
        ("classes: {-1: sky}", "whole number"),
        ("classes: [{name: sky}]", "number of class 'sky'"),
        ("classes: [{name: sky, number: 0}, road]", "has no number"),
        ("classes: [{name: sky, number: 0, colour: [1, 2, 3]}]", "Did you mean 'color'?"),
        ("classes: [{name: sky, number: 0, color: [1, 2]}]", "three numbers"),
        ("classes: [{name: sky, number: 0, color: [1, 2, 256]}]", "above 255"),
        ("classes: [{name: sky, number: 0, color: '#ffffff'}]", "three numbers"),
        ("classes: [{number: 0}]", "is not text"),
        ("classes: [{number: 0, name: a}, {number: 0, name: b}]", "number given twice: 0"),
        ("label_set: camvid\nclasses: [a]", "keep label_set or classes"),
        ("label_set: [camvid]", "unknown label set"),
        ("merge: [a]", "merge must name"),
        ("merge: {a: b}", "must list"),
        ("merge: {a: []}", "must list"),
        ("merge: {a: [1]}", "is not text"),
        ("merge: {1: [a]}", "is not text"),
        ("class_weights: 3", "must name classes"),
        ("class_weights: {a: x}", "must be a number"),
        ("class_weights: {a: -1}", "must be a number"),
        ("class_weights: {a: .nan}", "must be a number"),
        ("class_weights: {a: .inf}", "must be a number"),
        ("class_weights: {a: true}", "must be a number"),
        ("class_weights: {1: 1}", "is not text"),
        ("path: a\npath: b", "given twice: path"),
    ],
)
def test_faults_are_named(tmp_path, text, expected):
    assert expected in message(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "just words", "- 1\n- 2", "{", "a: !!python/object:os.system {}", "? [1]\n: 2", "1999-99-99"),
        *(
            "classes: 2001-99-99",
            "a: 9" + "9" * 5000,
            "---\na: 1\n---\nb: 2",
            "a: &x 1\nb: *x",
            "a: *nothing",
        ),
        *(
            "classes: {<<: 3}",
            "%YAML 9.9\n---\na",
            "? {a: b}\n: c",
            "classes: [",
            "\t",
            "!!binary x",
            *("a: !!set 3", "a: !!timestamp x", "a: !!bool x", "a: !!int ''", "a: !!float x"),
        ),
    ],
)
def test_texts_that_are_no_keys_and_values(tmp_path, text):
    message(tmp_path, text)


@pytest.mark.parametrize(
    "data", [b"\xff\xfe\x00\x01binary", "classes: [é]".encode("latin-1"), b"classes: [\xed\xa0\x80]"]
)
def test_other_encodings(tmp_path, data):
    assert "UTF-8" in message(tmp_path, data)


def test_line_numbers(tmp_path):
    assert "(line 3)" in message(tmp_path, "classes:\n  - a\n - b\n")
    assert "(line 2)" in message(tmp_path, "a: 1\nb: {c: [1, 2, &d 3, *d]}\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("classes: " + "[" * 300_000, "nested more than 50 deep"),
        ("- " * 300_000, "nested more than 50 deep"),
        ("\n".join(" " * i + f"k{i}:" for i in range(600)), "nested more than 50 deep"),
        ("ignore: [" + "255, " * 10_000 + "]", "more than 9000 values"),
        ("a: " + "x" * 2**20, "over 1048576 bytes"),
        (
            "\n".join(
                [
                    "a: &a [x, x]",
                    *(f"{n}: &{n} [*{m}, *{m}]" for m, n in zip("abcdefgh", "bcdefghi", strict=True)),
                ]
            ),
            "aliases",
        ),
        ("classes: [" + "a, " * 8_000 + "a]", "given twice: a"),
        ("ignore: [" + ", ".join(f"n{i}" for i in range(8_000)) + "]", ""),
    ],
)
def test_long_and_deep_texts_take_seconds_at_most(tmp_path, monkeypatch, text, expected):
    monkeypatch.setattr(dataset_file, "MAX_YAML_VALUES", 9_000)
    path = written(tmp_path, text)
    began = time.process_time()
    found = SourceClasses.numbered(["sky"])
    with pytest.raises(InputError) as caught:
        read_dataset_file(path).labels(lambda: found)
    assert expected in str(caught.value)
    assert len(str(caught.value)) < 2000
    assert time.process_time() - began < 5  # below one


def test_no_file(tmp_path):
    for path in (tmp_path / "no.yaml", tmp_path, tmp_path / "a\0b"):
        with pytest.raises(InputError, match="cannot read"):
            parse_yaml(path)
