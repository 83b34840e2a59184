"""``python -m tools.nightly keep FILE…``: append nights to the data branch, and push it.

The branch holds nothing but nights; it is made by the first one. Working tree and index of the checkout stay as they
are: the commit is put together from git's own objects. A push that somebody else's overtook is refused by the remote.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tools.nightly import NightlyError

AUTHOR = {
    "GIT_AUTHOR_NAME": "github-actions[bot]",
    "GIT_AUTHOR_EMAIL": "41898282+github-actions[bot]@users.noreply.github.com",
    "GIT_COMMITTER_NAME": "github-actions[bot]",
    "GIT_COMMITTER_EMAIL": "41898282+github-actions[bot]@users.noreply.github.com",
}


def keep(files: Sequence[Path], branch: str, remote: str = "origin") -> str:
    """Commit the files to `branch` of `remote`, under their own names; returns the commit.

    Raises NightlyError where the branch has a file of that name, and where git fails.
    """
    reference = f"refs/heads/{branch}"
    parent = ""
    if _git("ls-remote", "--heads", remote, reference):
        _git("fetch", "--quiet", "--depth=1", remote, reference)
        parent = _git("rev-parse", "FETCH_HEAD")
    taken = _git("ls-tree", "--name-only", parent).splitlines() if parent else []
    if clash := [f.name for f in files if f.name in taken]:
        raise NightlyError(f"{branch} has {clash[0]} already; a history is only appended to")
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        if parent:
            _git("read-tree", parent, **index)
        for file in files:
            blob = _git("hash-object", "-w", str(file.resolve()))
            _git("update-index", "--add", "--cacheinfo", f"100644,{blob},{file.name}", **index)
        tree = _git("write-tree", **index)
    message = f"Night {', '.join(f.name.partition('.')[0] for f in files)}"
    commit = _git("commit-tree", tree, *(["-p", parent] if parent else []), "-m", message, **AUTHOR)
    _git("push", "--quiet", remote, f"{commit}:{reference}")
    return commit


def _git(*arguments: str, **environment: str) -> str:
    done = subprocess.run(["git", *arguments], env={**os.environ, **environment}, capture_output=True, text=True)
    if done.returncode:
        raise NightlyError(f"git {' '.join(arguments[:2])}: {done.stderr.strip()}")
    return done.stdout.strip()
