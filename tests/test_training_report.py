from __future__ import annotations

import numpy as np
import pytest
import tifffile
from training_folders import coco_file, squares, write_sample

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError, ConfigError, TrainingError
from training.report import DataReport, scan, scan_steps
from training.split import Split, draw_split, read_groups


def texts(problems) -> str:
    return "\n".join(map(str, problems))


def test_sound_data_have_no_problem_and_right_numbers(tmp_path) -> None:
    places = [(v, 8 * (v // 6), 8 * (v % 6)) for v in range(1, 25)]
    for i in range(3):
        write_sample(tmp_path / f"i{i}", {1: squares(*places), 2: squares(*places)}, seed=i)
    report = scan(tmp_path)
    assert "cells of two classes" in texts(report.warnings)
    assert report.errors == ()
    assert report.cells.tolist() == [72, 72]
    assert len(report.sides) == 144
    assert np.allclose(report.sides, 30**0.5)
    assert [image.size for image in report.images] == [(40, 50)] * 3
    report.check()


def test_every_blocking_problem_is_listed_at_once(tmp_path) -> None:
    good = squares((1, 2, 2))
    fractional, nan, negative = good + 0.5 * (good > 0), good.copy(), -3 * good
    nan[0, 0] = np.nan
    write_sample(tmp_path / "fractional", {1: fractional})
    write_sample(tmp_path / "nan", {1: nan})
    write_sample(tmp_path / "two_wrong", {1: negative, 2: squares(size=(9, 9))})
    write_sample(tmp_path / "unknown_class", {1: good, 3: good})
    write_sample(tmp_path / "fine", {1: good}, seed=5)
    (write_sample(tmp_path / "broken", {}) / "image.tif").write_bytes(b"II*\0")
    stray = tmp_path / "stray"
    stray.mkdir()
    tifffile.imwrite(stray / "class1.tif", good)
    report = scan(tmp_path, ClassTable(("a", "b")))
    with pytest.raises(TrainingError) as caught:
        report.check()
    message = str(caught.value)
    wanted = {"fractional": "1.5", "nan": "NaN", "unknown_class": "class 3", "broken": "broken", "stray": "image.tif"}
    for image_id, word in wanted.items():
        assert any(p.image_id == image_id and word in p.text and p.level == "error" for p in report.problems), image_id
        assert image_id in message
    assert sum(problem.image_id == "two_wrong" for problem in report.errors) == 2
    assert not any(problem.image_id == "fine" for problem in report.errors)


def test_no_cell_at_all_is_an_error_but_a_negative_image_is_not(tmp_path) -> None:
    write_sample(tmp_path / "a", {})
    assert "no cell" in texts(scan(tmp_path).errors)
    write_sample(tmp_path / "b", {1: squares((1, 2, 2))}, seed=1)
    report = scan(tmp_path)
    assert report.errors == ()
    assert "1 image without cells" in report.summary()


def test_oddities_are_warnings(tmp_path) -> None:
    odd = squares((1, 2, 2), (1, 20, 20))
    odd[39, 49] = 2
    write_sample(tmp_path / "odd", {1: odd, 2: squares((3, 2, 4))})
    write_sample(tmp_path / "same_1", {1: squares((1, 2, 2))}, seed=1)
    write_sample(tmp_path / "same_2", {1: squares((1, 2, 2))}, seed=1)
    report = scan(tmp_path, ClassTable(("a", "b", "c")))
    warnings = texts(report.warnings)
    assert report.errors == ()
    assert "odd: 1 cell of fewer than 10 px" in warnings
    assert "odd: 1 cell in several separate parts" in warnings
    assert "odd: 18 px belong to cells of two classes" in warnings
    assert "class 'c' has no cell" in warnings
    assert "class 'b' has few cells" in warnings
    assert "same_1: Equal to same_2" in warnings


def test_a_long_list_is_cut_in_the_summary_but_not_in_the_report(tmp_path) -> None:
    for i in range(33):
        write_sample(tmp_path / f"i{i}", {1: squares((1, 2, 2), size=(9, 9))}, seed=i)
    report = scan(tmp_path)
    assert len(report.errors) == 34  # and no cell at all
    assert "and 4 more" in report.summary()
    with pytest.raises(TrainingError, match="34 problems") as caught:
        report.check()
    assert str(caught.value).count("class1.tif") >= 33


def test_a_single_image_is_warned_about(tmp_path) -> None:
    write_sample(tmp_path / "a", {1: squares((1, 2, 2))})
    assert "only one image" in texts(scan(tmp_path).warnings)


def test_the_scan_tells_of_each_image_and_can_be_stopped(tmp_path) -> None:
    for i in range(3):
        write_sample(tmp_path / f"i{i}", {1: squares((1, 2, 2))}, seed=i)
    steps = list(scan_steps(tmp_path))
    assert [(step.image, step.images, step.image_id) for step in steps] == [(1, 3, "i0"), (2, 3, "i1"), (3, 3, "i2")]
    stopped = scan_steps(tmp_path)
    next(stopped)
    stopped.close()


def test_a_coco_file_is_looked_through_too(tmp_path) -> None:
    path, _ = coco_file(tmp_path)
    report = scan(path)
    assert report.errors == ()
    assert report.cells.tolist() == [2, 1]


def test_an_image_of_a_coco_file_that_is_not_there_is_said(tmp_path) -> None:
    path, _ = coco_file(tmp_path)
    (tmp_path / "b" / "image.tif").unlink()
    report = scan(path)
    assert [sample.image_id for sample in report.samples] == ["a"]
    assert "b/image.tif is left out" in texts(report.warnings)


def test_a_coco_file_of_another_size_is_listed(tmp_path) -> None:
    path, _ = coco_file(tmp_path, size=(41, 50))
    with pytest.raises(AnnotationError) as caught:
        scan(path)
    assert str(caught.value).count("annotated at 41 x 50 px") == 2


def test_data_that_do_not_exist_are_an_error(tmp_path) -> None:
    with pytest.raises(AnnotationError):
        scan(tmp_path / "nowhere")


# ---- split ----


@pytest.fixture
def ten(tmp_path) -> DataReport:
    for i in range(10):
        write_sample(tmp_path / f"i{i}", {1: squares((1, 2, 2)), **({2: squares((1, 20, 2))} if i > 7 else {})}, seed=i)
    return scan(tmp_path)


def test_a_split_is_drawn_by_seed_and_covers_all(ten) -> None:
    split = draw_split(ten, seed=3, fraction=0.3)
    assert (len(split.train), len(split.validation)) == (7, 3)
    assert sorted(split.train + split.validation) == [f"i{i}" for i in range(10)]
    assert split == draw_split(ten, seed=3, fraction=0.3)
    assert len({draw_split(ten, seed=seed, fraction=0.3).validation for seed in range(10)}) > 1


def test_a_rare_class_is_on_both_sides_where_it_can_be(ten) -> None:
    for seed in range(10):
        assert len({"i8", "i9"} & set(draw_split(ten, seed=seed, fraction=0.3).validation)) == 1


def test_groups_and_equal_images_stay_together(tmp_path) -> None:
    for i in range(8):
        write_sample(tmp_path / f"i{i}", {1: squares((1, 2, 2))}, seed=i if i < 6 else 0)  # i6, i7 are as i0
    report = scan(tmp_path)
    groups = {"i0": "p", "i1": "p", "i2": "q", "i3": "q"}
    for seed in range(20):
        split = draw_split(report, seed=seed, fraction=0.4, groups=groups)
        held = set(split.validation)
        assert 1 <= len(held) <= 4
        for together in ({"i0", "i1", "i6", "i7"}, {"i2", "i3"}):
            assert len(together & held) in (0, len(together))
        split.apply(report)


def test_nothing_held_back_and_one_image(ten, tmp_path_factory) -> None:
    split = draw_split(ten, seed=0, fraction=0)
    assert (len(split.train), split.validation) == (10, ())
    alone = tmp_path_factory.mktemp("alone")
    write_sample(alone / "a", {1: squares((1, 2, 2))})
    with pytest.raises(TrainingError, match="only one image"):
        draw_split(scan(alone), seed=0, fraction=0.2)
    with pytest.raises(TrainingError, match="only one group"):
        draw_split(ten, seed=0, fraction=0.2, groups={f"i{i}": "same" for i in range(10)})


def test_a_saved_split_is_the_same_and_applies(ten, tmp_path) -> None:
    split = draw_split(ten, seed=0, fraction=0.2)
    split.save(tmp_path / "split.json")
    again = Split.load(tmp_path / "split.json")
    assert again == split
    train, validation = again.apply(ten)
    assert [sample.image_id for sample in train] == list(split.train)
    assert [sample.image_id for sample in validation] == list(split.validation)


def test_a_split_that_does_not_fit_the_data_is_refused(ten) -> None:
    with pytest.raises(TrainingError, match="gone_image"):
        Split(("i0", "gone_image"), ("i1",), 0, 0.5).apply(ten)
    with pytest.raises(TrainingError, match="equal image"):
        Split(("i0", "i1"), ("i1",), 0, 0.5).apply(ten)


@pytest.mark.parametrize("text", ["", "[]", '{"train": ["a"]}', '{"train": 3, "validation": []}'])
def test_a_damaged_split_file_is_named(text: str, tmp_path) -> None:
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(TrainingError, match=r"split\.json"):
        Split.load(tmp_path / "split.json")


def test_groups_are_read_from_csv(tmp_path) -> None:
    path = tmp_path / "groups.csv"
    path.write_text("\ufeffimage_id,age,group\ni0,3,p\ni1,4,q\n", "utf-8")
    assert read_groups(path) == {"i0": "p", "i1": "q"}
    for text in ("image,group\na,b\n", "image_id,group\n", "image_id,group\na,p\na,q\n", "image_id,group\na\n"):
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"groups\.csv"):
            read_groups(path)
    with pytest.raises(ConfigError, match=r"missing\.csv"):
        read_groups(tmp_path / "missing.csv")


def test_groups_of_other_images_are_an_error(ten) -> None:
    with pytest.raises(ConfigError, match="none of the images"):
        draw_split(ten, seed=0, fraction=0.2, groups={"x": "p"})
