"""The class table: validated, ordered, and readable in several notations."""

from __future__ import annotations

import json

import pytest

from napari_cellseg.classes import DEFAULT_COLOURS, ClassTable
from napari_cellseg.errors import ConfigError


def test_names_have_class_ids_from_one_and_distinct_default_colours() -> None:
    table = ClassTable(("tumour", " stroma ", "免疫細胞"))
    assert list(table) == [
        (1, "tumour", DEFAULT_COLOURS[0]),
        (2, "stroma", DEFAULT_COLOURS[1]),
        (3, "免疫細胞", DEFAULT_COLOURS[2]),
    ]
    assert (len(table), list(table.class_ids)) == (3, [1, 2, 3])
    assert table.class_id("stroma") == 2
    assert table.name(3) == "免疫細胞"
    assert len(set(DEFAULT_COLOURS)) == len(DEFAULT_COLOURS)


def test_more_classes_than_colours_use_them_again() -> None:
    table = ClassTable.numbered(10)
    assert table.names[9] == "class10"
    assert table.colours[8] == table.colours[0]


@pytest.mark.parametrize(
    "data",
    [
        ["a", "b"],
        {"1": "a", "2": "b"},
        {"2": "b", "1": "a"},
        {1: "a", 2: "b"},
        {"names": ["a", "b"]},
        {"names": ["a", "b"], "colours": ["#E69F00", "#56b4e9"]},
    ],
)
def test_all_spellings_read_as_the_same_table(data: object) -> None:
    assert ClassTable.from_json(data) == ClassTable(("a", "b"))


def test_json_makes_the_round_trip() -> None:
    table = ClassTable(("a", "ü"), ("#123456", "#abcdef"))
    assert ClassTable.from_json(json.loads(json.dumps(table.to_json()))) == table


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "at least one"),
        (["a", " "], "needs a name"),
        (["a", "a"], "used twice"),
        ({"1": "a", "3": "b"}, r"run 1\.\.2 without a gap"),
        ("ab", "list of names"),
        ([1, 2], "list of names"),
        (None, "list of names"),
        ({"names": ["a"], "colours": ["red"]}, "is not a colour"),
        ({"names": ["a"], "colours": ["#000000", "#111111"]}, "2 colours for 1 classes"),
    ],
)
def test_a_wrong_table_is_one_clear_error(data: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ClassTable.from_json(data)


def test_an_unknown_class_is_an_error() -> None:
    table = ClassTable(("a", "b"))
    with pytest.raises(ConfigError, match="no class 'c'; the classes are a, b"):
        table.class_id("c")
    for class_id in (0, 3, -1):
        with pytest.raises(ConfigError, match=r"1\.\.2"):
            table.name(class_id)
