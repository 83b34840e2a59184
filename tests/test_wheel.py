"""Is the installed package the same suites, under one import name, that leave every other project's run alone?

The wheel goes into an environment of its own, outside the checkout, which sees the installed frameworks and libraries.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.numpy import save_file

from tests.command import ROOT, clean, copy_repository
from tests.made_checkpoints import hugging_face, meta

ADAPTERS = ("--adapter", "reference", "--adapter", "torch@cpu")
WORKED = "worked.onnxruntime_backend.touchstone:OnnxRuntimeAdapter"
MINE = "mine:Mine"
Run = Callable[..., subprocess.CompletedProcess[str]]


def environment(folder: Path, home: Path, *wheels: Path) -> Path:
    """A virtual environment that holds these wheels, and sees what is installed here but for this project."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "beside.pth").write_text(f"import sys; sys.path.append({str(seen(home))!r})\n")
    if wheels:
        pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
        command = [*pip, "install", "-q", "--no-deps", "--no-index", *map(str, wheels)]
        subprocess.run(command, check=True, env=clean())  # a checkout on the path would be taken for an installation
    return folder


def seen(folder: Path) -> Path:
    """A folder of links to everything that is installed here, but for this project."""
    links = folder / "installed"
    if not links.exists():
        links.mkdir()
        for path in Path(sysconfig.get_path("purelib")).iterdir():
            if (
                not path.name.startswith(("touchstone", "__editable__", "_distutils", "_virtualenv"))
                and path.suffix != ".pth"
            ):
                (links / path.name).symlink_to(path)
    return links


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("wheel")


@pytest.fixture(scope="module")
def wheel(home: Path) -> Path:
    source = copy_repository(home / "source")
    for name in ("README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(home), str(source)],
        check=True,
        env=clean(),
    )
    (made,) = home.glob("touchstone*.whl")
    return made


@pytest.fixture(scope="module")
def bare(home: Path) -> Path:
    """An environment without the project."""
    return environment(home / "bare", home)


@pytest.fixture(scope="module")
def installed(home: Path, wheel: Path) -> Path:
    return environment(home / "installed-wheel", home, wheel)


@pytest.fixture(scope="module")
def elsewhere(home: Path) -> Path:
    """A folder outside any checkout, with two adapters of third parties."""
    folder = home / "elsewhere"
    folder.mkdir()
    (folder / "mine.py").write_text(
        "from touchstone.adapters.reference.adapter import ReferenceAdapter\n\n\n"
        "class Mine(ReferenceAdapter):\n    name, is_framework = 'mine', True\n"
    )
    shutil.copytree(ROOT / "examples", folder / "worked")
    for path in (folder / "worked").rglob("*.py"):
        path.write_text(path.read_text().replace("from examples.", "from worked."))
    return folder


def within(venv: Path, folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A command of the environment, in this folder; the first word is its program."""
    path = f"{venv / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [shutil.which(words[0], path=path) or words[0], *words[1:]],
        cwd=folder,
        env=clean() | {"PATH": path, "PYTHONDONTWRITEBYTECODE": "1", **variables},
        capture_output=True,
        text=True,
        timeout=600,
    )


def ids(said: str) -> set[str]:
    """The ids of collected cases, without the folder before their file."""
    return {line[line.index("test_") :] for line in said.splitlines() if re.match(r"\S*test_\w+\.py::", line)}


ONCE = """
import sys
from collections import defaultdict
from pathlib import Path


def pytest_sessionfinish(session):
    import touchstone
    roots = [Path(p).resolve() for p in touchstone.__path__]
    loaded = defaultdict(set)
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file and any(root in Path(file).resolve().parents for root in roots):
            loaded[str(Path(file).resolve())].add(id(module))
    twice = [name for name, objects in loaded.items() if len(objects) > 1]
    print(f"\\nloaded {len(loaded)} files, twice: {twice}")
"""


@pytest.fixture(scope="module")
def ways(home: Path, bare: Path, installed: Path, elsewhere: Path) -> dict[str, subprocess.CompletedProcess[str]]:
    """What each way to collect all cases says; the file that counts modules is loaded in each."""
    (home / "once").mkdir()
    (home / "once" / "once.py").write_text(ONCE)
    own, counted = {"PYTHONPATH": str(home / "once")}, ("--co", "-q", "-p", "once", "-p", "no:cacheprovider", *ADAPTERS)
    with_editable = Path(sys.executable).parent.parent
    checkout = {"PYTHONPATH": f"{home / 'once'}{os.pathsep}{ROOT}"}
    pytest_at = ("python", "-m", "pytest")
    return {
        "a checkout alone": within(bare, ROOT, *pytest_at, "suites/", *counted, **checkout),
        "an editable installation": within(with_editable, ROOT, *pytest_at, "suites/", *counted, **own),
        "--pyargs": within(installed, elsewhere, *pytest_at, "--pyargs", "touchstone.suites", *counted, **own),
        "touchstone run": within(installed, elsewhere, "touchstone", "run", *counted, **own),
    }


def test_every_way_collects_the_same_cases(ways: dict[str, subprocess.CompletedProcess[str]]) -> None:
    found = {way: ids(done.stdout) for way, done in ways.items()}
    assert {way: done.returncode for way, done in ways.items()} == dict.fromkeys(ways, 0), [
        done.stdout[-500:] + done.stderr[-2000:] for done in ways.values() if done.returncode
    ]
    first = found["a checkout alone"]
    assert len(first) > 6000
    assert {way: len(first ^ others) for way, others in found.items()} == dict.fromkeys(ways, 0)
    assert not any("inductor" in name for name in first)


def test_no_file_is_loaded_twice(ways: dict[str, subprocess.CompletedProcess[str]]) -> None:
    for way, done in ways.items():
        (count, twice) = re.findall(r"^loaded (\d+) files, twice: (.*)$", done.stdout, re.MULTILINE)[0]
        assert int(count) > 100, way
        assert twice == "[]", way


@pytest.mark.parametrize("adapter", [MINE, WORKED])
@pytest.mark.parametrize("way", [("touchstone", "run"), ("python", "-m", "pytest", "--pyargs", "touchstone.suites")])
def test_the_wheel_runs_a_third_party_s_adapter(
    way: tuple[str, ...], adapter: str, installed: Path, elsewhere: Path
) -> None:
    done = within(installed, elsewhere, *way, "--adapter", adapter, "-k", "test_sizes or test_layouts", "-q")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert re.search(r"^all targets +[1-9]\d* conforms", done.stdout, re.MULTILINE)


def test_a_case_is_asked_again_from_any_folder(installed: Path, elsewhere: Path, tmp_path: Path) -> None:
    (elsewhere / "wrong.py").write_text(
        "from touchstone.adapters.reference.adapter import ReferenceAdapter\n\n\n"
        "class Wrong(ReferenceAdapter):\n    name, is_framework = 'wrong', True\n\n"
        "    def layer(self, name, weight, **parts):\n        return super().layer(name, weight * 2, **parts)\n"
    )
    command = ("touchstone", "run", "suites/test_lookup.py", "--adapter", "wrong:Wrong", "-k", "raw_lookup", "-q", "-x")
    done = within(installed, elsewhere, *command)
    assert done.returncode == 1, done.stdout + done.stderr
    (rerun,) = re.findall(r"^ +rerun +(.*)$", done.stdout, re.MULTILINE)
    again = within(installed, tmp_path, "bash", "-c", rerun)
    assert again.returncode == 1, again.stdout + again.stderr
    assert "1 failed" in again.stdout


def test_the_wheel_holds_one_import_name(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
    assert {name.split("/")[0] for name in names} == {"touchstone", names[-1].split("/")[0]}
    assert not [name for name in names if "tools" in name.split("/") or "tests" in name.split("/")]
    assert "touchstone/py.typed" in names
    assert "touchstone/golden/manifest.json" in names


def test_a_check_needs_nothing_but_the_wheel(installed: Path, elsewhere: Path) -> None:
    """Not even a framework is imported where none is named, and a foreign configuration of pytest changes nothing."""
    tensors = hugging_face(meta())
    save_file(tensors, elsewhere / "a.safetensors")
    save_file({name: value * 2 for name, value in tensors.items()}, elsewhere / "b.safetensors")
    (elsewhere / "pytest.ini").write_text("[pytest]\naddopts = --collect-only\n")
    asked = ("touchstone", "check", "a.safetensors", "b.safetensors", "--tensors-only")
    done = within(installed, elsewhere, *asked, PYTEST_ADDOPTS="--collect-only")
    (elsewhere / "pytest.ini").unlink()
    assert done.returncode == 1, done.stderr
    assert "verdict: 30 of 30 cases deviate" in done.stdout
    assert done.stderr == ""
    blocked = "import sys; sys.modules.update(dict.fromkeys(['torch', 'mlx', 'jax', 'pytest'])); "
    program = blocked + f"from touchstone.command import main; sys.exit(main({list(asked[1:])!r}))"
    assert within(installed, elsewhere, "python", "-c", program).returncode == 1


OTHER = """
import sys, warnings
import pytest

FRAMEWORKS = {"torch", "mlx", "jax", "flax"}


@pytest.mark.inductor
@pytest.mark.fuzz
def test_marked(): pass


@pytest.mark.requirement("one", "two")
def test_tied(): warnings.warn("look", UserWarning)


@pytest.mark.parametrize("assay", [1, 2])
def test_assayed(assay): assert not FRAMEWORKS & sys.modules.keys()


def test_failing(): assert False
"""
CONFIGURED = "[pytest]\nmarkers =\n    inductor\n    fuzz\n    requirement\naddopts = --strict-markers\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, home: Path, wheel: Path) -> Path:
    """Somebody's own project; its environment lies in its folder, as many do."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "test_other.py").write_text(OTHER)
    (folder / "pytest.ini").write_text(CONFIGURED)
    environment(folder / ".venv", home, wheel)
    return folder


def test_another_project_may_have_options_of_the_same_names(project: Path, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        "def pytest_addoption(parser):\n"
        "    for name in ('--report', '--target', '--source', '--shard', '--adapter', '--table'):\n"
        "        parser.addoption(name, default='mine')\n"
    )
    (tmp_path / "test_own.py").write_text(
        "def test_own(pytestconfig): assert pytestconfig.getoption('report') == 'mine'"
    )
    done = within(project / ".venv", tmp_path, "python", "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout + done.stderr


NO_CASES = {
    "a value that is missing": (("--adapter",), "argument --adapter: expected one argument"),
    "a file that is not there": (("suites/test_nothing.py",), "suites/test_nothing.py: no such file or folder"),
    "a file of another project": (("test_own.py",), "test_own.py: no such file or folder of the suites"),
}


@pytest.mark.parametrize("name", NO_CASES)
def test_the_command_asks_the_suites_or_nothing(name: str, installed: Path, tmp_path: Path) -> None:
    arguments, said = NO_CASES[name]
    (tmp_path / "test_own.py").write_text("def test_own(): pass")
    done = within(installed, tmp_path, "touchstone", "run", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_what_is_left_out_is_no_case(installed: Path, tmp_path: Path) -> None:
    left_out = ("--ignore", "suites/test_lookup.py", "--deselect", "suites/test_linear.py")
    done = within(installed, tmp_path, "touchstone", "run", "--co", "-q", "--adapter", "reference", *left_out)
    assert done.returncode == 0, done.stderr
    assert len(ids(done.stdout)) > 3000
    assert not any(name.startswith(("test_lookup.py", "test_linear.py")) for name in ids(done.stdout))


@pytest.mark.parametrize("options", [(), ("-v",), ("-m", "inductor"), ("--markers",), ("-n", "2")], ids=" ".join)
def test_another_project_s_run_is_left_alone(options: tuple[str, ...], bare: Path, project: Path) -> None:
    command = ("python", "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:benchmark", *options)
    without, with_it = (within(venv, project, *command) for venv in (bare, project / ".venv"))
    assert with_it.returncode == without.returncode
    assert told(with_it.stdout, project / ".venv") == told(without.stdout, bare)
    assert with_it.stderr == without.stderr
    assert sorted(p.name for p in project.iterdir()) == [".venv", "pytest.ini", "test_other.py"]


def told(said: str, venv: Path) -> list[str]:
    """The lines that pytest printed, without times, names of workers, the environment and its list of plugins."""
    said = re.sub(r"^(plugins|platform): .*$", "", said.replace(str(venv), ""), flags=re.MULTILINE)
    plain = re.sub(r"\d+\.\d+s|\bgw\d\b", "", said)
    return sorted(line.strip("= ") for line in plain.splitlines())
