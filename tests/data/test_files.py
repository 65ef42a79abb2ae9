"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from autoglm_nb.data.files import whole_file
from autoglm_nb.errors import DiskFullError


def test_failure_leaves_the_old_file(tmp_path: Path) -> None:
    """Whatever stops the writer, the former content stays and no scratch file does."""
    path = tmp_path / "sub" / "file.txt"
    with whole_file(path) as scratch:
        scratch.write_text("old")
    with pytest.raises(KeyboardInterrupt), whole_file(path) as scratch:
        scratch.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert os.listdir(path.parent) == ["file.txt"]


def test_full_disk_has_its_own_error(tmp_path: Path) -> None:
    """The study is paused on it, so it must be told from other faults."""
    with pytest.raises(DiskFullError, match="needs room on the disk"), whole_file(tmp_path / "f") as scratch:
        scratch.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert os.listdir(tmp_path) == []
