"""Files that hangdiag writes are whole, or were not touched."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hangdiag.cli import output


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_new_file_has_the_rights_that_others_get(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        output.check(tmp_path / "new")
        assert names(tmp_path) == []
        output.write(tmp_path / "new", "grün\n")
    finally:
        os.umask(before)
    assert (tmp_path / "new").read_bytes() == "grün\n".encode()
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o640
    assert names(tmp_path) == ["new"]


def test_a_file_keeps_its_rights_and_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")
    (tmp_path / "old").chmod(0o604)
    (tmp_path / "link").symlink_to("old")
    output.check(tmp_path / "link")
    output.write(tmp_path / "link", "new")
    assert (tmp_path / "old").read_text() == "new"
    assert (tmp_path / "old").stat().st_mode & 0o777 == 0o604
    assert (tmp_path / "link").is_symlink()


def test_what_fails_half_way_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "old").write_text("old")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        output.write(tmp_path / "old", "new")
    assert (tmp_path / "old").read_text() == "old"
    assert names(tmp_path) == ["old"]


def test_a_full_disk_is_told_by_its_error() -> None:
    with pytest.raises(OSError, match="No space left"):
        output.write(Path("/dev/full"), "text")


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("folder", IsADirectoryError),
        ("", IsADirectoryError),
        ("absent/file", FileNotFoundError),
        ("file/below", NotADirectoryError),
        ("x" * 300, OSError),
        ("to-absent", FileNotFoundError),
        ("to-itself", (OSError, RuntimeError)),
    ],
)
def test_what_cannot_be_written_is_known_before(
    tmp_path: Path, name: str, error: type[OSError] | tuple[type[Exception], ...]
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "to-absent").symlink_to("absent/file")
    (tmp_path / "to-itself").symlink_to("to-itself")
    before = names(tmp_path)
    with pytest.raises(error):
        output.check(tmp_path / name)
    assert names(tmp_path) == before


def test_a_folder_without_rights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> int:
        raise PermissionError(13, "Permission denied")

    # Nothing is forbidden to root, as whom tests may run.
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError):
        output.check(tmp_path / "file")


def test_a_pipe_gets_it(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    heard: list[str] = []
    reader = threading.Thread(target=lambda: heard.append(fifo.read_text()))
    reader.start()
    output.check(fifo)
    output.write(fifo, "text")
    reader.join()
    assert heard == ["text"]


@pytest.mark.parametrize("into_file", [True, False])
def test_standard_output_gets_it_behind_what_is_there(tmp_path: Path, into_file: bool) -> None:
    code = (
        "from pathlib import Path; from hangdiag.cli import output; p = Path('/dev/stdout');"
        "output.check(p); print('report', flush=True); output.write(p, 'capture\\n')"
    )
    command = [sys.executable, "-c", code]
    if into_file:
        with (tmp_path / "out").open("w") as stream:
            subprocess.run(command, stdout=stream, check=True, timeout=60)
        text = (tmp_path / "out").read_text()
    else:
        text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert text == "report\ncapture\n"


def test_names_that_are_no_text_are_written(tmp_path: Path) -> None:
    output.write(tmp_path / "file", '"vmcore\udcff"')
    assert (tmp_path / "file").read_bytes() == b'"vmcore\\udcff"'
