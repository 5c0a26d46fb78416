import time
from itertools import pairwise
from pathlib import Path

import pytest

from napari_cellseg.errors import ConfigError
from napari_cellseg.formats.yaml_gate import MAX_DEPTH, parse_yaml, read_yaml


def test_settings_are_read(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("a: 1\nb: {c: [1.5, null, ü]}\n", "utf-8")
    assert read_yaml(tmp_path / "x.yaml") == {"a": 1, "b": {"c": [1.5, None, "ü"]}}


NAMES = "abcdefghi"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{before}'] * 9)}]\n" for before, after in pairwise(NAMES)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BOMB, "alias"),
        ("a: &a [*a]", "alias"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "nested more than 32 deep"),
        ("[" * 50_000, "nested more than 32 deep"),
        ("- " * 5000 + "x", "nested more than 32 deep"),
        ("epochs: " + "9" * 5000, "5000 digits"),
        ("a: 1\na: 2", "repeated"),
        ("a: 2024-99-99", "not valid YAML"),
        ("a: [1", "not valid YAML"),
        ("? [a]\n: 1", "not valid YAML"),
        ("!!python/object/apply:os.system ['true']", "not valid YAML"),
        ("a: \x00", "not valid YAML"),
        ("x" * 2**19, "524288 characters"),
    ],
)
def test_what_is_refused_is_named_within_seconds(text: str, words: str) -> None:
    begin = time.monotonic()
    with pytest.raises(ConfigError, match=words) as caught:
        parse_yaml(text, "run.yaml")
    assert "run.yaml" in str(caught.value)
    assert time.monotonic() - begin < 10


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfea\x00")
    with pytest.raises(ConfigError, match="UTF-8"):
        read_yaml(tmp_path / "x.yaml")
