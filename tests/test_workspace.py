"""A folder of images as a project: annotations, classes, saving and label images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from review_actions import disc, some_cells

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import AnnotationError, ExportError
from napari_cellseg.formats.label_images import read_class_images, to_instances, write_class_images
from napari_cellseg.instances import InstanceMasks
from napari_cellseg.review import Status
from napari_cellseg.workspace import Sessions, recoverable
from napari_cellseg.workspace.own_labels import forget_annotations

SIZE = (120, 150)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a/image.tif and its labels of two classes, and b/image.tif without labels."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        tifffile.imwrite(tmp_path / name / "image.tif", np.full((*SIZE, 3), 200, np.uint8), photometric="rgb")
    labels = InstanceMasks.from_crops(SIZE, [(5, 5), (40, 40), (80, 80)], [disc(8)] * 3, [1, 2, 2], None, [7, 3, 9])
    write_class_images(tmp_path / "a", labels)
    return tmp_path


def snapshot(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and ".cellseg" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_label_images_are_a_start_and_keep_their_values(folder):
    with Sessions.of_folder(folder) as workspace:
        session = workspace.open_session("a", SIZE)
        assert [cell.label_value for cell in session.cells.values()] == [7, 3, 9]
        assert {cell.status for cell in session.cells.values()} == {Status.GIVEN}
        assert (session.progress.reviewed, session.progress.given) == (0, 3)
        assert session.instances().equals(to_instances(read_class_images(folder / "a"), SIZE))
        assert len(session.classes) == 2
        assert not workspace.is_modified("a")


def test_an_image_without_anything_is_annotated_from_nothing(folder):
    with Sessions.of_folder(folder) as workspace:
        assert workspace.summary("b") is None
        assert workspace.read("b") is None
        session = workspace.open_session("b", SIZE, ClassTable(("nucleus",)))
        box = (10, 10, 40, 40)
        after = session.view(1, box)
        after[5:15, 5:15] = session.next_id
        session.paint(1, box, session.view(1, box), after)
        workspace.save("b", class_images=True)
    assert read_class_images(folder / "b")[1].sum() == 100
    with Sessions.of_folder(folder) as workspace:
        assert workspace.summary("b").total == 1
        again = workspace.open_session("b", SIZE, ClassTable(("nucleus",)))
        assert again.cells[1].equals(session.cells[1])


def test_all_that_a_review_holds_comes_back_from_the_annotations(folder):
    with Sessions.of_folder(folder, user="ana") as workspace:
        session = workspace.open_session("a", SIZE, ClassTable(("one", "two", "three")))
        session.load_proposals(some_cells(30, 0, SIZE), by="lite")
        session.reject([4, 5])
        session.reclassify([1, 2], 3)
        session.set_min_scores({1: 0.3, 2: 0.5})
        workspace.save("a")
        summary = workspace.summary("a")
    with Sessions.of_folder(folder) as workspace:
        assert workspace.summary("a").cells == summary.cells
        assert workspace.summary("a").progress == summary.progress == session.progress
        again = workspace.open_session("a", SIZE)
        assert again.cells.keys() == session.cells.keys()
        assert all(cell.equals(session.cells[i]) for i, cell in again.cells.items())
        assert again.min_scores == session.min_scores
        assert again.next_id == session.next_id
        assert again.classes == session.classes
        assert again.instances().equals(session.instances())
        assert workspace.read("a").instances().equals(session.instances())


def test_looking_and_saving_touch_no_file_of_the_user(folder):
    before = snapshot(folder)
    with Sessions.of_folder(folder) as workspace:
        session = workspace.open_session("a", SIZE)
        session.delete([1])
        workspace.save("a")
    assert snapshot(folder) == before


def test_label_images_are_written_at_wish_only_and_the_old_ones_kept(folder):
    before = snapshot(folder)
    with Sessions.of_folder(folder) as workspace:
        session = workspace.open_session("a", SIZE)
        session.delete([1])
        session.reclassify([2], 1)
        workspace.save("a", class_images=True)
        assert not workspace.project.labels_changed("a")
    after = snapshot(folder)
    for name in ("class1.tif", "class2.tif"):
        assert after[f"a/{name}.bak"] == before[f"a/{name}"]
        assert after[f"a/{name}"] != before[f"a/{name}"]
    assert to_instances(read_class_images(folder / "a"), SIZE).class_ids.tolist() == [1, 2]


def test_labels_changed_by_another_program_are_noticed_and_can_be_used_instead(folder):
    with Sessions.of_folder(folder) as workspace:
        workspace.open_session("a", SIZE).delete([1])
        workspace.save("a")
        workspace.close_session("a")
        assert not workspace.project.labels_changed("a")
        write_class_images(folder / "a", InstanceMasks.from_crops(SIZE, [(5, 5)], [disc(4)], [1]))
        assert workspace.project.labels_changed("a")
        assert len(workspace.open_session("a", SIZE).cells) == 2
        workspace.close_session("a")
        forget_annotations(workspace, "a")
        assert len(workspace.open_session("a", SIZE).cells) == 1


def test_undoing_all_leaves_nothing_to_save(folder):
    with Sessions.of_folder(folder) as workspace:
        session = workspace.open_session("a", SIZE)
        session.delete([1])
        assert workspace.is_modified("a")
        session.undo()
        assert not workspace.is_modified("a")
        session.delete([1])
        workspace.save("a")
        assert not workspace.is_modified("a")
        session.undo()
        assert workspace.is_modified("a")


def test_discarded_changes_are_gone(folder):
    with Sessions.of_folder(folder) as workspace:
        workspace.open_session("a", SIZE).delete([1])
        workspace.discard_changes("a")
        assert recoverable(workspace.project, "a") is None
        assert len(workspace.open_session("a", SIZE).cells) == 3


def test_the_class_table_is_found_kept_and_extended(folder):
    (folder / "classes.json").write_text(json.dumps({"1": "epithelial"}))
    with Sessions.of_folder(folder) as workspace:
        assert workspace.project.classes == ClassTable(("epithelial",))
        assert workspace.open_session("a", SIZE).classes.names == ("epithelial", "class2")
        workspace.set_classes(ClassTable(("a", "b"), ("#112233", "#445566")))
    with Sessions.of_folder(folder) as workspace:
        assert workspace.project.classes == ClassTable(("a", "b"), ("#112233", "#445566"))


def test_one_image_is_a_project_too(folder):
    with Sessions.of_folder(folder / "b" / "image.tif") as workspace:
        assert [image.image_id for image in workspace.project.images] == ["b"]
        assert workspace.project.state_folder == folder / "b" / ".cellseg"


def test_a_folder_that_cannot_be_written_keeps_its_state_in_the_user_data_folder(folder, monkeypatch, tmp_path):
    monkeypatch.setattr("napari_cellseg.workspace.places.os.access", lambda *_: False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    with Sessions.of_folder(folder) as workspace:
        workspace.open_session("a", SIZE).delete([1])
        workspace.save("a")
        assert folder not in workspace.project.state_folder.parents or "data" in workspace.project.state_folder.parts
    assert not (folder / ".cellseg").exists()
    with Sessions.of_folder(folder) as workspace:
        assert workspace.summary("a").total == 2


@pytest.mark.parametrize("image_id", ["../evil", "a/b", "müller 1", "CON", ".hidden"])
def test_names_of_annotation_files_stay_in_their_folder(image_id, tmp_path):
    from napari_cellseg.workspace.places import annotations_file

    path = annotations_file(tmp_path, image_id)
    assert path.parent == tmp_path / "annotations"
    assert path.resolve().parent == path.parent.resolve()


def test_annotations_for_another_size_are_refused(folder):
    with Sessions.of_folder(folder) as workspace:
        workspace.open_session("a", SIZE).delete([1])
        workspace.save("a")
        workspace.close_session("a")
        with pytest.raises(AnnotationError, match="is for an image of"):
            workspace.open_session("a", (50, 50))


def test_an_image_that_is_not_there(folder):
    with Sessions.of_folder(folder) as workspace, pytest.raises(AnnotationError, match="no image 'x'"):
        workspace.open_session("x", SIZE)


def test_flat_images_have_no_place_for_label_images(tmp_path):
    tifffile.imwrite(tmp_path / "c.tif", np.zeros((*SIZE, 3), np.uint8), photometric="rgb")
    write_class_images(tmp_path, some_cells(3, 0, SIZE))  # whose image would these be of?
    with Sessions.of_folder(tmp_path) as workspace:
        session = workspace.open_session("c", SIZE)
        assert not session.cells
        session.add(1, (0, 0, 5, 5), np.ones((5, 5), bool))
        with pytest.raises(ExportError, match="export a training folder"):
            workspace.save("c", class_images=True)
        workspace.save("c")


def test_the_annotations_can_be_read_as_the_page_of_file_formats_says(folder):
    with Sessions.of_folder(folder) as workspace:
        session = workspace.open_session("a", SIZE)
        session.add(2, (20, 20, 110, 110), disc(50)[5:95, 5:95])
        workspace.save("a")
    page = (Path(__file__).parents[1] / "docs" / "file-formats.md").read_text(encoding="utf-8")
    code = page.split("```python\n")[1].split("```")[0]
    found = {}
    code = (
        code.replace(".cellseg/", f"{(folder / '.cellseg').as_posix()}/")
        + "    found[cell_id] = (x0, y0, x1, y1), mask\n"
    )
    exec(code, {"found": found})
    assert found.keys() == session.cells.keys()
    for cell_id, cell in session.cells.items():
        assert found[cell_id][0] == cell.box
        assert np.array_equal(found[cell_id][1], cell.mask)
