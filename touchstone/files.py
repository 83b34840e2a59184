"""Writing a file whole or not at all: whoever reads it sees the old one or the new one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to, which takes its place where the block ends in order, and goes otherwise.

    The name ends with all of the file's own, and with the process: two files, or two processes, never share one.
    Makes the folder. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink()


def write(path: Path, content: bytes | str) -> None:
    """Replace the file by this content, text as UTF-8. Raises OSError.

    >>> write(Path("/tmp/example.toml"), "a = 1")
    >>> Path("/tmp/example.toml").read_text()
    'a = 1'
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
