"""Is a file written whole or not at all, also where another of a like name is written at the same time?"""

from __future__ import annotations

from pathlib import Path

import pytest

from touchstone import files


def test_files_of_like_names_do_not_share_a_temporary_one(tmp_path: Path) -> None:
    with files.replacing(tmp_path / "a.toml") as toml, files.replacing(tmp_path / "a.json") as json:
        toml.write_text("toml")
        json.write_text("json")
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"a.toml": "toml", "a.json": "json"}


def write_half(path: Path) -> None:
    with files.replacing(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError


def test_a_failure_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    files.write(tmp_path / "deep" / "a.txt", "old")
    with pytest.raises(ZeroDivisionError):
        write_half(tmp_path / "deep" / "a.txt")
    assert [(p.name, p.read_text()) for p in (tmp_path / "deep").iterdir()] == [("a.txt", "old")]


def test_text_is_utf_8_and_bytes_are_kept(tmp_path: Path) -> None:
    files.write(tmp_path / "a", "größer")
    files.write(tmp_path / "b", b"\r\n")
    assert (tmp_path / "a").read_bytes() == "größer".encode()
    assert (tmp_path / "b").read_bytes() == b"\r\n"
