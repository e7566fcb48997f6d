"""Class files as tools write them (the texts are copies of real exports), and every way in which one can be
wrong."""

import random

import pytest

from sceneparse.data.class_files import (
    CLASS_FILES,
    find_class_file,
    read_class_file,
    read_class_names,
    read_class_table,
    read_labelmap,
)
from sceneparse.data.classes import SourceClasses
from sceneparse.errors import InputError

LABELMAP = """# label:color_rgb:parts:actions
background:0,0,0::
ignore_region:66,193,150::
tree-crown:217,3,216:crown,stem:falling
"""
CLASS_DICT = "name,r,g,b\nAnimal,64,128,64\nArchway,192,0,128\nBicyclist,0,128, 192"
ROBOFLOW = "Pixel Value, Class\n0, background\n1, liverwort\n2, bark dominated"


def wrote(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def message(read, path):
    with pytest.raises(InputError) as caught:
        read(path)
    assert path.name in str(caught.value)
    assert caught.value.fix
    return str(caught.value)


# ---------------------------------------------------------------- as tools write them


def test_cvat_label_map(tmp_path):
    expected = SourceClasses(
        names=("background", "ignore_region", "tree-crown"),
        numbers=(0, 1, 2),
        colors=((0, 0, 0), (66, 193, 150), (217, 3, 216)),
    )
    assert read_class_file(wrote(tmp_path / "labelmap.txt", LABELMAP)) == expected
    assert read_labelmap(wrote(tmp_path / "a.txt", "\ufeff\n" + LABELMAP.replace("\n", "\r\n"))) == expected


def test_label_map_lines_of_every_kind(tmp_path):
    text = "\nroad : 1, 2 ,3::\n# a comment\na:b:4,5,6::\nno colour:::\nlate:7,8,9:: #green\nolder:9,9,9\n"
    found = read_class_file(wrote(tmp_path / "labelmap.txt", text))
    assert found.names == ("road", "a:b", "no colour", "late", "older")
    assert found.colors == ((1, 2, 3), (4, 5, 6), None, (7, 8, 9), (9, 9, 9))
    assert found.numbers == (0, 1, 2, 3, 4)


def test_a_label_map_without_colours_is_a_list_of_names(tmp_path):
    """TensorFlow's object detection calls such a list labelmap.txt too."""
    found = read_class_file(wrote(tmp_path / "labelmap.txt", "person\nbicycle\n"))
    assert found == SourceClasses.numbered(["person", "bicycle"])


def test_class_dict(tmp_path):
    found = read_class_file(wrote(tmp_path / "class_dict.csv", CLASS_DICT))
    assert found.names == ("Animal", "Archway", "Bicyclist")
    assert found.colors == ((64, 128, 64), (192, 0, 128), (0, 128, 192))
    assert found.numbers == (0, 1, 2)


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffname,r,g,b\r\nsky,1,2,3\r\ncar,4,5,6\r\n",
        " Name , R , G , B \n sky , 1 , 2 , 3 \n\n car,4,5,6,\n,,,\n",
        "class_names;r;g;b\nsky;1;2;3\ncar;4;5;6",
        "name,r,g,b,,\nsky,1,2,3,,\ncar,4,5,6\n",
        "name\tred\tgreen\tblue\nsky\t1\t2\t3\ncar\t4\t5\t6",
        'b,name,g,r,remark\n3,"sky",2,1,"blue, mostly"\n6,"car",5,4,\n',
        "name,color\nsky,#010203\ncar,040506\n",
        'Class,RGB\nsky,"1, 2, 3"\ncar,"[4 5 6]"\n',
    ],
)
def test_tables_of_every_make(tmp_path, text):
    found = read_class_file(wrote(tmp_path / "class_dict.csv", text))
    assert (found.names, found.numbers, found.colors) == (("sky", "car"), (0, 1), ((1, 2, 3), (4, 5, 6)))


def test_roboflow_classes(tmp_path):
    found = read_class_file(wrote(tmp_path / "_classes.csv", ROBOFLOW))
    assert found == SourceClasses.numbered(["background", "liverwort", "bark dominated"])
    with_colors = "Pixel Value, Class, Color\n7, sky, #808080\n3, car, #400080\n"
    found = read_class_file(wrote(tmp_path / "_classes.csv", with_colors))
    assert (found.numbers, found.colors) == ((7, 3), ((128, 128, 128), (64, 0, 128)))


def test_where_numbers_are_given_a_colour_may_come_twice(tmp_path):
    """Cityscapes' table shows several of its classes in one colour."""
    text = "id,name,r,g,b\n29,caravan,0,0,90\n33,trailer,0,0,90\n"
    assert read_class_table(wrote(tmp_path / "a.csv", text)).numbers == (29, 33)


def test_names(tmp_path):
    path = wrote(tmp_path / "codes.txt", "\ufeffAnimal\r\nStraße \r\nCar: small\r\n\r\n")
    assert read_class_file(path) == SourceClasses.numbered(["Animal", "Straße", "Car: small"])


def test_the_first_class_file_in_a_fixed_order_is_found(tmp_path):
    assert find_class_file(tmp_path) is None
    for name in reversed(CLASS_FILES):
        wrote(tmp_path / name, "name,r,g,b\nsky,1,2,3\n" if name.endswith("csv") else "sky:1,2,3::\n")
        assert find_class_file(tmp_path) == tmp_path / name
        assert read_class_file(tmp_path / name).names == ("sky",)
    assert CLASS_FILES[0] == "labelmap.txt"


# ---------------------------------------------------------------- wrong ones


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "list is empty"),
        ("# label:color_rgb:parts:actions\n", "list is empty"),
        ("a:1,2,3::\nb:1,2,300::\n", "line 2: colour '300' is no whole number 0..255"),
        ("a:1,2,3::\n\nb:4,5::\n", "line 3: 'b:4,5::' is not NAME"),
        ("a:1,2,3::\nb 4,5,6\n", "line 2: 'b 4,5,6' is not NAME"),
        ("a:1,2,3::\na:4,5,6::\n", "class name given twice: a (lines 1 and 2)"),
        ("# label:color_rgb\na:1,2,3::\nb:1,2,3::\n", "colour given twice: (1, 2, 3) (lines 2 and 3)"),
        ("a:1,2,3::\nb:4,5,6,7::\n", "line 2: 'b:4,5,6,7::' is not NAME"),
        (":1,2,3::\n", "line 1 has no class name"),
        ("a:1,2,3::\nb:-1,2,3::\n", "line 2"),
        (b"caf\xe9:1,2,3::\n", "UTF-8"),
        (b"\xff\xfea\0:\0", "UTF-8"),
        ("x" * 5_000_000, "over"),
    ],
)
def test_wrong_label_maps(tmp_path, text, expected):
    assert expected in message(read_class_file, wrote(tmp_path / "labelmap.txt", text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "table is empty"),
        ("\n\n", "table is empty"),
        ("name,r,g,b\n", "list is empty"),
        ("sky,128,128,128\ncar,64,0,128\n", "the columns sky, 128, 128, 128"),
        ("name\nsky\n", "the columns name"),
        ('"class_id,class_name"\n"0,background"\n', "the columns class_id,class_name"),
        ("name,r,g,b,r\nsky,1,2,3,4\n", "two columns have one name"),
        ("name,r,g,b\nsky,1,2,3\ncar,1,2\n", "line 3 has 3 columns, the first line has 4"),
        ("name,r,g,b\nsky,1,2,3\n\nbig, red car,1,2,3\n", "line 4 has 5 columns"),
        ("name,r,g,b\nsky,1,2,x\n", "line 2: colour 'x' is no whole number 0..255"),
        ("name,r,g,b\nsky,1,2,-3\n", "line 2: colour '-3'"),
        ("name,r,g,b\nsky,1,2,3.0\n", "line 2: colour '3.0'"),
        ("name,r,g,b\nsky,1,2,٣\n", "line 2: colour"),
        ("name,r,g,b\nsky,1,2,3\nsky,4,5,6\n", "class name given twice: sky (lines 2 and 3)"),
        ("name,r,g,b\nsky,1,2,3\ncar,1,2,3\n", "colour given twice: (1, 2, 3) (lines 2 and 3)"),
        ("name,r,g,b\n,1,2,3\n", "line 2 has no class name"),
        ("name,number\nsky,65536\n", "line 2: number '65536' is no whole number 0..65535"),
        ("name,number\nsky,\n", "line 2: number ''"),
        ("name,number\nsky,5\ncar,5\n", "class number given twice: 5 (lines 2 and 3)"),
        ("name,color\nsky,blue\n", "line 2: the colour has 1 parts"),
        ("filename,car,bus\na.jpg,1,0\n", "has no masks"),
        ("name,number\nsky," + "9" * 200_000, "line 2 cannot be read"),
        (b"name,r,g,b\ncaf\xe9,1,2,3\n", "UTF-8"),
        ("name,number\n" + "".join(f"n{i},{i % 65536}\n" for i in range(65537)), "65537 classes"),
    ],
)
def test_wrong_tables(tmp_path, text, expected):
    found = message(read_class_file, wrote(tmp_path / "class_dict.csv", text))
    assert expected in found
    assert len(found) < 1000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        ("sky\n\nroad\n", "line 2 is blank"),
        ("sky\nroad\nsky\n", "class name given twice: sky (lines 1 and 3)"),
        (b"Stra\xdfe\n", "UTF-8"),
    ],
)
def test_wrong_lists_of_names(tmp_path, text, expected):
    assert expected in message(read_class_names, wrote(tmp_path / "classes.txt", text))


def test_no_file_and_a_folder(tmp_path):
    for read in (read_class_file, read_class_names, read_class_table, read_labelmap):
        message(read, tmp_path / "none.txt")
        message(read, tmp_path)


def test_damaged_class_files_are_read_or_named(tmp_path):
    """Nothing but an InputError comes of 300 random changes."""
    rng = random.Random(3)
    pieces = [b"\0", b"\xff", b"\n\n", b",", b":", b'"', b"-1", b"99999999999999999999", b"NaN", b"\r", b" "]
    refused = 0
    for turn in range(300):
        name, text = rng.choice([("a.csv", CLASS_DICT), ("b.csv", ROBOFLOW), ("c.txt", LABELMAP)])
        data = bytearray(text.encode())
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(data))
            change = rng.randrange(4)
            if change == 0:
                data[at] = rng.randrange(256)
            elif change == 1:
                data[at:at] = rng.choice(pieces) * rng.choice([1, 1, 50])
            elif change == 2:
                del data[at : at + rng.randrange(1, 20)]
            else:
                data += data[: rng.randrange(1, 40)]
            data = data or bytearray(b"x")
        path = wrote(tmp_path / f"{turn}{name}", bytes(data))
        try:
            found = read_class_file(path)
        except InputError as error:
            refused += 1
            named = error.where == path
        else:
            named = True
            assert found.names
            assert len(set(found.numbers)) == len(found.names) == len(set(found.names))
        assert named
    assert 50 < refused < 300
