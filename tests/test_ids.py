"""The id file: found, read, matched with images by path and by name, with one wording."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from napari_cellseg.errors import AnnotationError
from napari_cellseg.formats.coco_images import ImageId, read_image_ids, write_image_ids
from napari_cellseg.formats.ids import IDS_NAME, find_ids, match_ids, match_names, short_names
from napari_cellseg.wording import counted, listed

SIZE = (20, 30)


def id_file(folder: Path, *names: str) -> Path:
    path = folder / IDS_NAME
    write_image_ids(path, [ImageId(name, 10 + i, *SIZE) for i, name in enumerate(names)])
    return path


def test_the_file_is_found_in_the_folder_or_next_to_it(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    assert find_ids(images) is None
    next_to_it = id_file(tmp_path, "a.tif")
    assert find_ids(images) == next_to_it
    inside = id_file(images, "a.tif")
    assert find_ids(images) == inside


def test_images_are_matched_by_path_and_the_rest_by_unique_file_name(tmp_path):
    path = id_file(tmp_path, "s1/tile.tif", "s2/tile.tif", "b.tif", "c/image.tif", "gone.tif")
    ids = match_ids(path, ["s1/tile", "s2/tile", "deep/b", "c", "new"])
    assert {name: entry.id for name, entry in ids.of_image.items()} == {
        "s1/tile": 10,
        "s2/tile": 11,
        "deep/b": 12,
        "c": 13,
    }
    assert (ids.by_name, ids.missing, ids.unknown) == (("deep/b",), ("gone",), ("new",))
    assert ids.preview() == [
        "4 of 5 images in the id file",
        "Matched by file name, in another folder: deep/b",
        "Not in this folder, so without a row: gone",
        "Not in the id file, so left out: new",
    ]


def test_a_name_that_two_images_share_is_given_to_neither(tmp_path):
    ids = match_ids(id_file(tmp_path, "tile.tif"), ["s1/tile", "s2/tile"])
    assert ids.of_image == {}
    assert ids.unknown == ("s1/tile", "s2/tile")
    assert match_names(["s1/tile", "s2/tile"], ["tile"]) == {}


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_compare_whatever_way_their_accents_are_stored(tmp_path, forms):
    stored, on_disk = (unicodedata.normalize(form, "Gewebe_müller") for form in forms)
    assert stored != on_disk
    ids = match_ids(id_file(tmp_path, f"{stored}.tif"), [on_disk])
    assert ids.entry(on_disk, SIZE).id == 10
    assert ids.by_name == ()


def test_the_same_name_in_two_forms_is_listed_twice(tmp_path):
    path = id_file(tmp_path, *(unicodedata.normalize(form, "é.tif") for form in ("NFC", "NFD")))
    with pytest.raises(AnnotationError, match="is listed twice"):
        read_image_ids(path)


def test_one_wording_for_an_image_without_an_id_and_one_of_another_size(tmp_path):
    path = id_file(tmp_path, "a.tif")
    ids = match_ids(path, ["a", "b"])
    with pytest.raises(AnnotationError, match=r"does not list the image b\. Add it to the file") as missing:
        ids.entry("b")
    assert str(path) in str(missing.value)
    with pytest.raises(AnnotationError, match=r"lists a with 20 x 30 px .* the image has 21 x 30 px"):
        ids.entry("a", (21, 30))


def test_names_of_a_data_set_are_as_short_as_they_are_unique():
    def names(*files: str) -> tuple[str, ...]:
        return short_names([ImageId(file, i, *SIZE) for i, file in enumerate(files)])

    assert names("images/a.tif", "images/b.tif") == ("a", "b")
    assert names("s1/t.tif", "s2/t.tif", "b.tif") == ("s1/t", "s2/t", "b")
    assert names("a/image.tif", "b/image.tif") == ("a", "b")
    assert names("a.tif", "a.png") == ("a.tif", "a.png")


def test_counts_and_lists_are_worded_in_one_place():
    assert [counted(n, "cell") for n in (0, 1, 2, 15555)] == ["0 cells", "1 cell", "2 cells", "15,555 cells"]
    assert counted(2, "class", "classes") == "2 classes"
    assert listed("abc") == "a, b, c"
    assert listed([str(i) for i in range(7)]) == "0, 1, 2, 3, 4 and 2 more"
