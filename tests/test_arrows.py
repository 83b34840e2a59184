"""Do the packages import only what the design allows, and is no framework loaded before one of its cases runs?"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import ROOT, run

FRAMEWORKS = {
    *("mlx", "jax", "jaxlib", "flax", "optax", "torch", "torchao", "keras", "qwix", "gguf"),
    *("orbax", "tensorstore", "msgpack"),
}
PARTS = ("adapters", "golden", "migration", "reports", "suites")
"""Folders of the checkout that the build places under ``touchstone``."""
TOOLS = ("benchmarks", "mutants", "nightly", "versions")
OURS = {"conftest", "examples", "tests", "tools", "touchstone", *PARTS}
SHARED = ("touchstone.documents", "touchstone.errors", "touchstone.files", "touchstone.verdict")
"""What every part may import, and what imports none."""
OWN_FRAMEWORK = {
    "adapters/jax/exercise.py",
    "adapters/jax/examples.py",
    "adapters/jax/llama.py",
    "adapters/jax/modules.py",
    "adapters/jax/tied.py",
    "adapters/mlx/tied.py",
    "adapters/torch/tied.py",
    "adapters/jax/packing.py",
    "adapters/jax/product.py",
    "adapters/jax/releases.py",
    "adapters/mlx/examples.py",
    "adapters/mlx/llama.py",
    "adapters/torch/int4.py",
    "adapters/torch/examples.py",
    "adapters/torch/llama.py",
    "adapters/torch/packing.py",
    "adapters/torch/product.py",
    "adapters/torch/quantized.py",
}
"""Modules that hold framework code; every other module imports them, and frameworks, inside functions only."""
MEETING = {"adapters/record.py"}
"""Where adapters and golden data meet, which no adapter imports."""

READERS = {
    "migration/formats/gguf.py": "gguf",
    "migration/formats/orbax.py": "tensorstore",
    "migration/gguf_names.py": "gguf",
    "golden/operations/arithmetic.py": "mpmath",
}
"""Modules that need a library for a file, or for many digits, and which: imported inside functions only."""
GUIDES = {f"migration/{p.name}" for p in (ROOT / "migration").glob("guide*.py")} | {"migration/guide.py"}
"""Where observations become guides: the only modules of `migration` that may import reports."""

GOLDEN_MAY_USE = {"touchstone", "msgspec", "numpy", "ml_dtypes", "safetensors", *sys.stdlib_module_names}


def modules(package: str) -> list[Path]:
    return sorted(p for p in (ROOT / package).rglob("*.py") if "__pycache__" not in p.parts)


def imports(node: ast.AST, at_import: bool = True) -> Iterator[tuple[str, bool]]:
    """(dotted name, whether importing the module imports it too) of every import statement below `node`."""
    for child in ast.iter_child_nodes(node):
        later = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or is_type_checking(child)
        if isinstance(child, ast.Import):
            yield from ((alias.name, at_import) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            prefix = "." * child.level + (child.module or "")
            yield prefix, at_import
            yield from ((f"{prefix}.{alias.name}", at_import) for alias in child.names)
        yield from imports(child, at_import and not later)


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def part_of(name: str) -> str | None:
    """The part of this project that a dotted name lies in; None where it is somebody else's.

    Parts are "golden", "tools.nightly", "shared", …, and "touchstone" for the command and the plugin.
    """
    top, *rest = name.split(".")
    if top not in OURS:
        return None
    if top == "touchstone":
        if name.startswith(SHARED):
            return "shared"
        return rest[0] if rest and rest[0] in PARTS else "touchstone"
    if top in PARTS:
        return f"{top} by another name"
    return f"tools.{rest[0]}" if top == "tools" and rest and rest[0] in TOOLS else top


def allowed(path: str) -> set[str]:
    """Parts of this project that the module may import."""
    folder, *rest = path.split("/")
    own = f"tools.{rest[0]}" if folder == "tools" and rest[0] in TOOLS else folder
    if path.startswith(("touchstone/documents", "touchstone/errors", "touchstone/files", "touchstone/verdict/")):
        return {"shared"}
    return {"shared", *_allowed(path, own)}


def _allowed(path: str, own: str) -> set[str]:
    if path in MEETING:
        return {"adapters", "golden"}
    if path in GUIDES:
        return {"adapters", "golden", "migration", "reports"}
    if path.startswith("suites/migration/"):
        return {"adapters", "golden", "migration", "suites"}
    return {
        "golden": {"golden"},
        "adapters": {"adapters"},
        "migration": {"adapters", "golden", "migration"},
        "suites": {"adapters", "golden", "suites"},
        "reports": {"reports"},
        "touchstone": {"touchstone", *PARTS},
        "tools": {"tools", *PARTS},
        "tools.benchmarks": {"tools.benchmarks", *PARTS},
        "tools.nightly": {"adapters", "reports", "tools.nightly"},
        "tools.mutants": {"tools.mutants"},
        "tools.versions": {"adapters", "reports", "suites", "tools.versions"},
        "examples": {"adapters", "examples"},
    }[own]


def may_load(path: str, framework: str, at_import: bool) -> bool:
    """Whether the module may import the framework there."""
    if path.startswith("adapters/"):
        return path in OWN_FRAMEWORK or not at_import
    if path == "tools/mutants/torch_own_tests.py":  # a file of tests, which pytest alone imports
        return framework == "torch"
    if path.startswith(("tools/benchmarks/", "tools/conversions/")):
        return not at_import
    return READERS.get(path) == framework and not at_import


def file_of(name: str) -> str:
    """Where a module of the package lies in the checkout."""
    return f"{name.removeprefix('touchstone.').replace('.', '/')}.py"


def is_hidden(name: str, path: str) -> bool:
    """Whether `name` is a module that the rest of its part, to which `path` belongs, must not import."""
    file = file_of(name)
    if file in MEETING:
        return path.startswith("adapters/")
    return file in GUIDES and path not in GUIDES and path.startswith(("migration/", "suites/"))


def breaches(path: str, source: str) -> list[str]:
    """Imports in the module `path` that the arrows forbid."""
    out = []
    for name, at_import in imports(ast.parse(source)):
        top, part = name.split(".")[0], part_of(name)
        if name.startswith("."):
            out.append(f"{path}: relative import of {name}")
        elif part and part not in allowed(path) and name not in ("touchstone", "tools"):
            out.append(f"{path}: imports {name}")
        elif top in FRAMEWORKS and not may_load(path, top, at_import):
            out.append(f"{path}: imports {name}{' at module level' if at_import else ''}")
        elif file_of(name) in OWN_FRAMEWORK and at_import and path not in OWN_FRAMEWORK:
            out.append(f"{path}: imports {name} at module level")
        elif is_hidden(name, path) or (
            path.startswith("golden/") and top not in GOLDEN_MAY_USE | {READERS.get(path, "")}
        ):
            out.append(f"{path}: imports {name}")
    return out


def asks_who(source: str) -> list[int]:
    """Lines that branch on which framework is asked: a name, id or target compared with a framework's."""
    out = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            parts: list[ast.AST] = [node.left, *node.comparators]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "startswith":
            parts = [node.func.value, *node.args]
        elif isinstance(node, ast.Match):
            parts = [node.subject, *(case.pattern for case in node.cases)]
        else:
            continue
        inner = [n for part in parts for n in ast.walk(part)]
        identity = any(isinstance(n, ast.Attribute) and n.attr in {"name", "id", "spec", "target"} for n in inner)
        texts = [n.value for n in inner if isinstance(n, ast.Constant) and isinstance(n.value, str)]
        if identity and any(text.partition("@")[0] in FRAMEWORKS | {"reference"} for text in texts):
            out.append(node.lineno)
    return out


@pytest.mark.parametrize("folder", ["examples", "tools", "touchstone", *PARTS])
def test_the_arrows(folder: str) -> None:
    found = modules(folder)
    assert found
    assert [b for p in found for b in breaches(str(p.relative_to(ROOT)), p.read_text())] == []


def test_no_suite_asks_which_framework_it_is_talking_to() -> None:
    assert {p.name: lines for p in modules("suites") if (lines := asks_who(p.read_text()))} == {}


PLANTED = [
    ("suites/test_x.py", "from touchstone.reports import summary"),
    ("suites/test_x.py", "import conftest"),
    ("suites/test_x.py", "def f():\n    import torch"),
    ("suites/test_x.py", "from jax import numpy"),
    ("suites/test_x.py", "from .rows import classify"),
    ("reports/x.py", "from touchstone.suites.conclusion import verdict_of"),
    ("reports/x.py", "def f():\n    from touchstone.adapters import registry"),
    ("reports/x.py", "import touchstone.golden.store"),
    ("reports/x.py", "import mlx.core as mx"),
    ("reports/page/x.py", "from tools.nightly import leg"),
    ("tools/nightly/x.py", "from touchstone.suites import requirements"),
    ("tools/nightly/x.py", "def f():\n    import mlx.core"),
    ("tools/versions/x.py", "from touchstone.golden.store import open_golden"),
    ("tools/versions/x.py", "def f():\n    import jax"),
    ("adapters/x.py", "from tools.versions import overlay"),
    ("examples/x.py", "from touchstone.suites import rows"),
    ("suites/test_x.py", "from examples.onnxruntime_backend import graphs"),
    ("adapters/torch/adapter.py", "from touchstone.golden.streams import DTYPES"),
    ("adapters/torch/adapter.py", "def f():\n    import touchstone.golden"),
    ("suites/test_x.py", "from suites import rows"),
    ("suites/test_x.py", "from touchstone import session"),
    ("golden/x.py", "from touchstone.command import main"),
    ("touchstone/verdict/x.py", "from touchstone.adapters.discovery.registry import Target"),
    ("touchstone/errors.py", "from touchstone import command"),
    ("adapters/torch/adapter.py", "from touchstone.suites import rows"),
    ("adapters/torch/adapter.py", "import torch"),
    ("adapters/torch/adapter.py", "class A:\n    import torch"),
    ("adapters/torch/adapter.py", "try:\n    import torch\nexcept ImportError:\n    pass"),
    ("adapters/torch/adapter.py", "from touchstone.adapters.torch import quantized"),
    ("adapters/torch/adapter.py", "def f():\n    from touchstone.adapters import record"),
    ("adapters/jax/adapter.py", "from touchstone.adapters.jax.modules import RawLookup"),
    ("golden/x.py", "import scipy"),
    ("golden/x.py", "from touchstone.migration.checkpoint import Tensor"),
    ("golden/x.py", "from touchstone.adapters.interface import Scheme"),
    ("golden/x.py", "def f():\n    import torch"),
    ("adapters/torch/adapter.py", "def f():\n    from touchstone.migration import opening"),
    ("reports/x.py", "from touchstone.migration.checkpoint import Checkpoint"),
    ("suites/test_x.py", "from touchstone.migration import opening"),
    ("suites/migration/test_x.py", "import torch"),
    ("suites/migration/test_x.py", "from touchstone.migration import guide"),
    ("migration/x.py", "from touchstone.suites.conclusion import verdict_of"),
    ("migration/x.py", "from touchstone.reports.records import EndLine"),
    ("migration/x.py", "from touchstone.migration.guide import differing"),
    ("migration/x.py", "def f():\n    import torch"),
    ("migration/formats/pytorch.py", "def f():\n    import torch"),
    ("migration/formats/orbax.py", "def f():\n    import gguf"),
    ("migration/formats/msgpack.py", "def f():\n    import msgpack"),
    ("migration/formats/orbax.py", "from tensorstore import open"),
    ("tools/mutants/x.py", "import torch"),
    ("tools/mutants/x.py", "from touchstone.suites import requirements"),
    ("reports/x.py", "from tools.mutants.score import recorded"),
]
ACCEPTED = [
    (
        "suites/test_x.py",
        "import numpy\nfrom touchstone.adapters import registry\nfrom touchstone.golden import bounds\nimport pytest",
    ),
    ("adapters/torch/adapter.py", "def f():\n    import torch\n    from touchstone.adapters.torch import quantized"),
    ("adapters/torch/adapter.py", "if TYPE_CHECKING:\n    import torch"),
    ("adapters/jax/modules.py", "import jax"),
    ("adapters/record.py", "from touchstone.golden.store import open_golden"),
    ("adapters/jax/adapter.py", "from touchstone.adapters.interface import Adapter"),
    (
        "golden/x.py",
        "import math, numpy, ml_dtypes\nfrom safetensors.numpy import save\nfrom touchstone.golden import oracle",
    ),
    (
        "reports/x.py",
        "import json\nfrom touchstone.reports import recorder\nfrom touchstone.verdict import rule",
    ),
    ("tools/nightly/x.py", "from touchstone.adapters import registry\nfrom touchstone.reports import model"),
    ("migration/x.py", "from touchstone.golden import bounds\nfrom touchstone.migration import opening"),
    ("migration/x.py", "from touchstone.adapters.interface import Scheme"),
    ("migration/formats/orbax.py", "def f():\n    import tensorstore"),
    ("golden/operations/arithmetic.py", "def f():\n    import mpmath"),
    ("migration/formats/safetensors.py", "from safetensors import safe_open"),
    ("migration/guide.py", "from touchstone.reports.differences import differences"),
    ("touchstone/commands/guide.py", "from touchstone.migration import guide"),
    (
        "suites/migration/test_x.py",
        "from touchstone.migration.opening import open_checkpoint\nfrom touchstone.suites import rows",
    ),
]
BRANCHES = [
    "if adapter.name == 'mlx': pass",
    "x = 1 if 'torch' != assay.target.cls.name else 2",
    "if target.id in ('jax@cpu', 'x'): pass",
    "if target.spec.startswith('mlx'): pass",
    "match assay.target.cls.name:\n    case 'torch': pass",
    "if assay.target.adapter.target == 'mlx@gpu': pass",
]
NO_BRANCHES = ["if dtype.name == 'float32': pass", "if name == 'weight': pass", "if target.id == recorded_on: pass"]


@pytest.mark.parametrize(("path", "source"), PLANTED)
def test_a_planted_import_is_found(path: str, source: str) -> None:
    assert breaches(path, source)


@pytest.mark.parametrize(("path", "source"), ACCEPTED)
def test_an_allowed_import_is_accepted(path: str, source: str) -> None:
    assert breaches(path, source) == []


@pytest.mark.parametrize("source", BRANCHES)
def test_a_planted_branch_is_found(source: str) -> None:
    assert asks_who(source) == [1]


@pytest.mark.parametrize("source", NO_BRANCHES)
def test_other_comparisons_are_accepted(source: str) -> None:
    assert asks_who(source) == []


COLLECT = f"""
import sys
import pytest
from touchstone.adapters.discovery import devices, registry

devices.probe = lambda *args, **kwargs: devices.Found({{"cpu": {{}}}})  # the real one asks a child process
loaded = lambda: sorted({FRAMEWORKS!r} & sys.modules.keys())
status = pytest.main(["suites", "--co", "-q", "-p", "no:cacheprovider"])
print("\\nafter collection:", int(status), loaded())
registry.resolve(["torch@cpu"])[0].adapter
print("after an import:", loaded())
"""


def test_collection_loads_no_framework() -> None:
    """For every target at once; that the check can fail is shown by asking for one adapter afterwards."""
    done = run("-c", COLLECT)
    assert "after collection: 0 []" in done.stdout, done.stdout[-2000:] + done.stderr
    assert "after an import: ['torch']" in done.stdout
    assert all(f"[{name}@cpu-" in done.stdout for name in ("mlx", "jax", "torch"))
