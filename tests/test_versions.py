"""Are releases, overlays and runs what they say, and does a run survive a case that kills its process?"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.command import ROOT, run
from tools.versions import overlay, releases, running
from tools.versions.releases import Release, VersionsError
from touchstone.reports import model


def toml(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "releases.toml"
    path.write_text(text)
    return path


def test_every_framework_has_the_releases_that_it_must() -> None:
    found = releases.load()
    count = {name: len(releases.select(found, [name])) for name in ("mlx", "jax", "torch")}
    assert count["mlx"] >= 8
    assert count["jax"] >= 4
    assert count["torch"] == 1
    assert [r.order for r in found if r.adapter == "mlx"] == sorted(r.order for r in found if r.adapter == "mlx")


def test_the_last_release_is_the_one_that_is_constrained() -> None:
    """A new release in constraints.txt belongs into the timeline too."""
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line)
    last = {release.adapter: release.version for release in releases.load()}
    assert last == {"mlx": pins["mlx"], "jax": pins["flax"], "torch": pins["torch"]}


BAD = [
    ("", "holds no release"),
    ('[[release]]\nadapter = "mlx"', "lacks version"),
    ('[[release]]\nadapter = "mx"\nversion = "1"', "unknown adapter 'mx'"),
    ('[[release]]\nadapter = "mlx"\nversion = "one"', "one"),
    ('[[release]]\nadapter = "mlx"\nversion = "1.0"\npin = []', "unknown field 'pin'"),
    ('[[release]]\nadapter = "mlx"\nversion = "1.0"\ninstall = ["mlx>=1.0"]', "write mlx==VERSION"),
    ('[[release]]\nadapter = "mlx"\nversion = "1.0"\ninstall = ["mlx==1.*"]', "write mlx==VERSION"),
    ('[[release]]\nadapter = "mlx"\nversion = "1.0"\ninstall = ["mlx==1.1"]', "must install mlx==1.0"),
    ('[[release]]\nadapter = "mlx"\nversion = "1.0"\n[[release]]\nadapter = "mlx"\nversion = "1.0"', "there twice"),
    ("release = [", "releases.toml"),
]


@pytest.mark.parametrize(("text", "said"), BAD, ids=[said for _, said in BAD])
def test_bad_lists_of_releases_are_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(VersionsError) as error:
        releases.load(toml(tmp_path, text))
    assert said in str(error.value)
    assert "releases.toml" in str(error.value)


def test_an_unknown_release_is_refused() -> None:
    with pytest.raises(VersionsError, match=r"no release 'mlx-9\.9'; there are mlx-"):
        releases.select(releases.load(), ["mlx-9.9"])


def made_overlay(folder: Path, release: Release, *, package: bool = True) -> None:
    """An overlay that holds the metadata of NumPy's release, and perhaps its package: the installed one, renamed."""
    path = folder / "overlays" / release.name
    info = path / f"numpy-{release.version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: numpy\nVersion: {release.version}\n")
    (info / "RECORD").write_text("numpy/__init__.py,,\n")
    overlay.sign(path, release)
    if package:
        import numpy

        (path / "numpy").symlink_to(Path(numpy.__file__).parent)


REFERENCE = Release("reference", "0.0.1", (("numpy", "0.0.1"),))


def test_an_overlay_that_does_not_hold_the_package_is_found(tmp_path: Path) -> None:
    """Its metadata alone would give the environment's own framework another version."""
    made_overlay(tmp_path, REFERENCE, package=False)
    with pytest.raises(VersionsError, match=r"reference-0.0.1: cannot be imported: numpy\S* was loaded from"):
        overlay.check(REFERENCE, tmp_path)


def test_an_overlay_of_another_version_is_found(tmp_path: Path) -> None:
    other = Release("reference", "0.0.2", (("numpy", "0.0.2"),))
    made_overlay(tmp_path, REFERENCE)
    (tmp_path / "overlays" / REFERENCE.name).rename(tmp_path / "overlays" / other.name)
    with pytest.raises(VersionsError, match=r"numpy is 0\.0\.1, not 0\.0\.2"):
        overlay.check(other, tmp_path)


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A package of the release's overlay that cannot be imported."""
    path = tmp_path / "overlays" / REFERENCE.name / "ml_dtypes"
    path.mkdir(parents=True)
    (path / "__init__.py").write_text("raise ImportError('built for another Python')\n")
    overlay.sign(path.parent, REFERENCE)
    return path


def test_a_release_that_cannot_be_imported_leaves_its_error(broken: Path, tmp_path: Path) -> None:
    """It is listed with it, and not dropped."""
    said = running.run(REFERENCE, tmp_path)
    assert said.startswith("reference-0.0.1: cannot be imported: ")
    assert "built for another Python" in said
    assert (tmp_path / "records" / REFERENCE.name / running.ERROR).read_text().strip() == said


def test_a_release_that_did_not_run_is_tried_again(
    broken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error is no record; records of the same pins are."""
    running.run(REFERENCE, tmp_path)
    shutil.rmtree(broken)
    monkeypatch.setattr(overlay, "check", lambda release, folder: None)
    monkeypatch.setattr(running, "_suites", lambda release, folder, records: None)
    assert running.run(REFERENCE, tmp_path).startswith("ran in ")
    assert not (tmp_path / "records" / REFERENCE.name / running.ERROR).exists()
    assert running.run(REFERENCE, tmp_path) == "its records are there"


def test_records_of_other_pins_are_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Release] = []
    monkeypatch.setattr(overlay, "install", lambda release, folder: folder)
    monkeypatch.setattr(overlay, "check", lambda release, folder: None)
    monkeypatch.setattr(running, "_suites", lambda release, folder, records: ran.append(release))
    other = replace(REFERENCE, install=(("numpy", "0.0.1"), ("ml-dtypes", "0.0.1")))
    for release in (REFERENCE, REFERENCE, other, other):
        running.run(release, tmp_path)
    assert ran == [REFERENCE, other]


def test_an_overlay_of_other_pins_is_installed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What pip is asked for is what `releases.toml` says now; the same pins are not installed twice."""
    installed: list[list[str]] = []

    def pip(command: list[str], *_: Any) -> subprocess.CompletedProcess[str]:
        (Path(command[command.index("--target") + 1]) / f"made {len(installed)}").touch()
        installed.append(command[command.index("--target") + 2 :])
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(overlay, "_run", pip)
    other = replace(REFERENCE, install=(("numpy", "0.0.1"), ("ml-dtypes", "0.0.1")))
    for release in (REFERENCE, REFERENCE, other, other):
        path = overlay.install(release, tmp_path)
        assert overlay.is_of(path, release)
    assert installed == [REFERENCE.pins, other.pins]
    assert {p.name for p in path.iterdir()} == {"made 1", overlay.PINS}
    (path / overlay.PINS).unlink()
    overlay.install(other, tmp_path)
    assert len(installed) == 3


def test_a_release_that_pip_does_not_find_leaves_its_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    assert "cannot be installed" in running.run(REFERENCE, tmp_path)
    assert [p.name for p in (tmp_path / "overlays").iterdir()] == []


def test_kernels_and_probes_of_releases_are_kept_apart(tmp_path: Path) -> None:
    first, second = (overlay.environment(Release("mlx", v, (("mlx", v),)), tmp_path) for v in ("1.0", "2.0"))
    assert first["TMPDIR"] != second["TMPDIR"]
    for variables, version in ((first, "1.0"), (second, "2.0")):
        assert variables["PYTHONPATH"].split(os.pathsep)[0].endswith(f"mlx-{version}")
        assert Path(variables["TMPDIR"]).is_dir()


def test_the_packages_of_a_record_are_those_of_the_overlay(tmp_path: Path) -> None:
    """Of two installed versions the first on the path is the one that is imported."""
    made_overlay(tmp_path, REFERENCE, package=False)
    report = tmp_path / "report"
    asked = ["suites/test_linear.py", "-k", "test_default_precision", "--adapter", "reference"]
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", *asked, "--report", str(report)]
    run(*command, PYTHONPATH=str(tmp_path / "overlays" / REFERENCE.name))
    (header,) = model.load(report).runs
    assert header.packages["numpy"] == "0.0.1"
    assert header.targets["reference@cpu"].versions["numpy"] == "0.0.1"
