"""The report page: what it says about a project, about results, and about the agreement with the ground truth."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

import napari_cellseg as cs
from napari_cellseg.cli import main
from napari_cellseg.formats.label_images import read_class_images, to_instances
from napari_cellseg.report.pictures import fitted


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cs.write_samples(tmp_path_factory.mktemp("report") / "samples", images=3, size=192)


@pytest.fixture(scope="module")
def results(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    assert main(["predict", str(samples / "train"), "--out", str(folder), "--device", "cpu", "--quiet"]) == 0
    return folder


def _page(words: list[str], path: Path) -> str:
    assert main(["report", *words, "--html", str(path)]) == 0
    return path.read_text(encoding="utf-8")


def test_the_page_of_a_training_folder_has_every_image_and_count(samples, tmp_path):
    page = _page([str(samples / "train")], tmp_path / "report.html")
    for number in (1, 2, 3):
        folder = samples / f"train/tissue_{number:02d}"
        cells = len(to_instances(read_class_images(folder, (192, 192)), (192, 192)))
        assert f"tissue_{number:02d}: {cells} cells" in page
        assert f"<strong>{cells}</strong>" in page
    for name in ("other", "inflammatory", "epithelial", "spindle-shaped"):
        assert name in page
    assert "Agreement" not in page
    assert "0 % reviewed, 100 % given labels" in page


def test_the_page_needs_no_other_file_and_no_network(samples, tmp_path):
    page = _page([str(samples / "train")], tmp_path / "report.html")
    addresses = re.findall(r'(?:src|href)="([^"]{1,40})', page)
    assert addresses
    assert all(address.startswith(("data:image/jpeg;base64,", "#")) for address in addresses)
    assert "<script" not in page
    assert re.search(r"url\((?!#)", page) is None
    images = re.findall(r"<img [^>]*>", page)
    assert all("alt=" in image for image in images)


def test_results_are_compared_with_the_ground_truth(samples, results, tmp_path, capsys):
    where = ["--images", str(samples / "train"), "--truth", str(samples / "train")]
    page = _page([str(results), *where, "--min-score", "0.4"], tmp_path / "report.html")
    assert "3 compared with the ground truth" in capsys.readouterr().out
    assert "Agreement with the ground truth" in page
    assert "Minimum scores of the first image: other 0.40" in page
    assert page.count("<svg") == 4  # counts, sizes, scores, confusion


def test_a_lower_score_shows_more_cells(samples, results, tmp_path, capsys):
    counts = []
    for score in ("0.2", "0.8"):
        _page([str(results), "--images", str(samples / "train"), "--min-score", score], tmp_path / "report.html")
        text = f"3 images, ([\\d,]+) of [\\d,]+ predicted cells reach score {score}0"
        counts.append(int(re.search(text, capsys.readouterr().out)[1].replace(",", "")))
    assert counts[0] > counts[1] > 0


def test_predict_the_measurements_and_the_report_count_the_same_cells(samples, tmp_path, capsys):
    folder, images = tmp_path / "out", samples / "train"
    assert main(["predict", str(images), "--out", str(folder), "--device", "cpu", "--to", "measurements"]) == 0
    (counts,) = re.findall(
        r"^3 images, ((\S+) of \S+ predicted cells reach the minimum score of their class), ",
        capsys.readouterr().out,
        re.MULTILINE,
    )
    assert len((folder / "measurements.csv").read_text().splitlines()) == int(counts[1].replace(",", "")) + 1
    page = _page([str(folder), "--images", str(images)], tmp_path / "report.html")
    assert f"3 images, {counts[0]} ->" in capsys.readouterr().out
    assert f"3 images, {counts[0]}</strong>" in page
    assert "epithelial" in page  # the names of the model's classes
    model = folder / "test-results-model.json"
    about = json.loads(model.read_text())
    model.write_text(json.dumps({**about, "results_sha256": "of other results"}))
    _page([str(folder), "--images", str(images)], tmp_path / "report.html")
    assert "predicted cells reach score 0.50" in capsys.readouterr().out
    model.write_text(json.dumps({**about, "classes": 3}))
    assert main(["report", str(folder), "--images", str(images), "--html", str(tmp_path / "report.html")]) == 2
    assert f"{model} is damaged" in capsys.readouterr().err


def test_a_damaged_image_is_named_and_the_others_are_on_the_page(samples, results, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(samples, copy)
    image = copy / "train/tissue_02/image.tif"
    image.write_bytes(image.read_bytes()[:2000])
    words = ["report", str(results), "--images", str(copy / "train"), "--html", str(tmp_path / "report.html")]
    assert main(words) == 1
    assert "tissue_02" in capsys.readouterr().err
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'class="note"' in page
    assert "tissue_03: " in page


def test_the_folder_of_the_page_is_made_or_the_reason_is_said(samples, tmp_path, capsys):
    _page([str(samples / "train")], tmp_path / "a/b/report.html")
    (tmp_path / "file").write_text("x")
    assert main(["report", str(samples / "train"), "--html", str(tmp_path / "file/report.html")]) == 2
    assert "file" in capsys.readouterr().err


def test_names_are_escaped(samples, tmp_path):
    copy = tmp_path / "a & <b>"
    shutil.copytree(samples, copy)
    (copy / "classes.json").write_text('["<script>x</script>", "b$a$", "c", "d"]')
    page = _page([str(copy / "train")], tmp_path / "report.html")
    assert "<script" not in page
    assert "a &amp; &lt;b&gt;" in page


def test_mistakes_are_explained(samples, results, tmp_path, capsys):
    html = ["--html", str(tmp_path / "report.html")]
    assert main(["report", str(results), *html]) == 2
    assert "give --ids FILE and --images DIR" in capsys.readouterr().err
    assert main(["report", str(samples / "test"), *html]) == 2
    assert not (tmp_path / "report.html").exists()


def test_a_large_picture_is_reduced_and_a_small_one_kept():
    import numpy as np

    assert fitted(np.zeros((2000, 1000, 3), np.uint8), 500).shape == (500, 250, 3)
    assert fitted(np.zeros((20, 10, 3), np.uint8), 500).shape == (20, 10, 3)
