from __future__ import annotations

from pathlib import Path

import pytest
import torch

from napari_cellseg.classes import ClassTable
from napari_cellseg.errors import CheckpointError, ConfigError, ExportError
from napari_cellseg.model.checkpoint import CheckpointMetadata, save_checkpoint
from napari_cellseg.model.config import ModelConfig
from napari_cellseg.model.library import ModelLibrary, default_folder
from napari_cellseg.model.network.build import build_model


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("runs") / "gut" / "best.safetensors"
    path.parent.mkdir()
    model = build_model(ModelConfig.preset("lite", ClassTable(("round", "oval"))))
    metadata = CheckpointMetadata(name="gut", metrics={"ap50": 0.5}, provenance={"data": "27 drawn images"})
    save_checkpoint(path, model, metadata)
    return path


@pytest.fixture
def library(tmp_path: Path) -> ModelLibrary:
    return ModelLibrary(tmp_path / "models")


def own(library: ModelLibrary) -> dict[str, str]:
    return {entry.name: entry.origin for entry in library.entries() if entry.origin != "bundled"}


def test_a_library_that_is_not_there_yet_has_only_bundled_models(library: ModelLibrary) -> None:
    assert own(library) == {}
    assert not library.folder.exists()


def test_runs_and_imported_files_are_listed_with_what_they_say_of_themselves(
    library: ModelLibrary, model_file: Path
) -> None:
    added = library.add_run(model_file.parent)
    imported = library.import_file(model_file, "from a friend")
    assert own(library) == {"gut": "run", "from a friend": "imported"}
    assert added.class_names == ("round", "oval")
    assert added.metrics == {"ap50": 0.5}
    assert added.data == "27 drawn images"
    assert added.created.startswith("20")
    assert imported.size_bytes == model_file.stat().st_size
    assert imported.path.read_bytes() == model_file.read_bytes()


def test_a_second_model_of_a_name_gets_another_name_and_none_is_lost(library: ModelLibrary, model_file: Path) -> None:
    names = [library.import_file(model_file).name for _ in range(4)]
    assert len(set(names)) == 4
    assert set(own(library)) == set(names)


def test_rename_and_delete(library: ModelLibrary, model_file: Path) -> None:
    entry = library.rename(library.import_file(model_file), "Kröte 細胞")
    assert own(library) == {"Kröte 細胞": "imported"}
    library.delete(entry)
    assert own(library) == {}
    with pytest.raises(CheckpointError, match="cannot be deleted"):
        library.delete(entry)


@pytest.mark.parametrize("name", ["", "  ", "a/b", "..", ".hidden", "a:b", "con", "x" * 81, "tab\there", "dot."])
def test_names_that_no_file_can_have_are_refused(library: ModelLibrary, model_file: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be a model's name"):
        library.import_file(model_file, name)
    assert own(library) == {}


def test_a_taken_name_is_refused(library: ModelLibrary, model_file: Path) -> None:
    library.import_file(model_file, "a")
    entry = library.import_file(model_file, "b")
    with pytest.raises(ConfigError, match="already"):
        library.rename(entry, "a")
    assert set(own(library)) == {"a", "b"}


def test_bundled_models_stay(library: ModelLibrary, monkeypatch: pytest.MonkeyPatch, model_file: Path) -> None:
    monkeypatch.setattr("napari_cellseg.model.library.WEIGHTS", model_file.parent)
    (entry,) = library.entries()
    assert entry.origin == "bundled"
    with pytest.raises(ConfigError, match="comes with the program"):
        library.delete(entry)
    with pytest.raises(ConfigError, match="comes with the program"):
        library.rename(entry, "mine")
    assert model_file.exists()


def test_damaged_files_are_listed_with_the_problem(library: ModelLibrary, model_file: Path) -> None:
    folder = library.import_file(model_file).path.parent
    (folder / "cut.safetensors").write_bytes(model_file.read_bytes()[:500])
    (folder / "pickle.safetensors").write_bytes(b"\x80\x04")
    (folder / "link.safetensors").symlink_to(folder / "gone")
    problems = {entry.name: entry.problem for entry in library.entries() if entry.origin == "imported"}
    assert "damaged" in problems["cut"]
    assert "pickled" in problems["pickle"]
    assert "cannot be read" in problems["link"]
    assert problems["best"] == ""


def test_a_damaged_or_foreign_file_is_not_imported(library: ModelLibrary, model_file: Path, tmp_path: Path) -> None:
    flipped = bytearray(model_file.read_bytes())
    flipped[-100] ^= 1
    bad = tmp_path / "flipped.safetensors"
    bad.write_bytes(flipped)
    with pytest.raises(CheckpointError, match="SHA-256"):
        library.import_file(bad)
    with pytest.raises(CheckpointError, match=r"no best\.safetensors"):
        library.add_run(tmp_path)
    assert own(library) == {}


def test_export_goes_to_a_file_or_a_folder_and_overwrites_only_when_told(
    library: ModelLibrary, model_file: Path, tmp_path: Path
) -> None:
    entry = library.import_file(model_file, "mine")
    assert library.export_file(entry, tmp_path) == tmp_path / "mine.safetensors"
    with pytest.raises(ExportError, match="already"):
        library.export_file(entry, tmp_path)
    (tmp_path / "mine.safetensors").write_bytes(b"old")
    exported = library.export_file(entry, tmp_path / "mine.safetensors", overwrite=True)
    assert exported.read_bytes() == model_file.read_bytes()
    with pytest.raises(ExportError, match="cannot be written"):
        library.export_file(entry, tmp_path / "nowhere" / "mine.safetensors")


def test_a_library_that_cannot_be_written_says_so(model_file: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="No model can be stored"):
        ModelLibrary(tmp_path / "file").import_file(model_file)


def test_a_model_is_found_by_path_or_by_name(library: ModelLibrary, model_file: Path) -> None:
    entry = library.import_file(model_file, "mine")
    assert library.find("mine") == entry.path
    assert library.find(str(model_file)) == model_file
    with pytest.raises(CheckpointError, match=r"no model 'thine'.*mine"):
        library.find("thine")


def test_the_folder_can_be_set_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CELLSEG_MODELS", str(tmp_path))
    assert default_folder() == tmp_path
    monkeypatch.delenv("CELLSEG_MODELS")
    assert default_folder().name == "models"
    assert default_folder().is_absolute()
