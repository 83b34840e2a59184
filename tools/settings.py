"""Which other processors and thread counts can be had on this machine, and has a setting taken effect?

`settings.toml` lists them. The variables fail in silence, so what the libraries use is read back in a child process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec

from touchstone import documents
from touchstone.adapters.conditions import LEVELS
from touchstone.adapters.discovery import instructions
from touchstone.errors import InputError

FILE = Path(__file__).parent / "settings.toml"
ROOT = Path(__file__).parent.parent
PLAIN = "plain"
"""Name of the run with none of the variables set."""
_THREADS = "_threads"
_READ = (
    "import json, sys; from touchstone.adapters.discovery.instructions import used; "
    "print(json.dumps(used(sys.argv[1:])))"
)


class SettingError(InputError):
    """A setting is spelled wrongly or has no effect; the message is one sentence that names it."""


class Setting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Environment variables, and what the libraries show where these took effect: fact -> value."""

    variables: dict[str, str] = {}
    shows: dict[str, str] = {}

    @property
    def spelled(self) -> str:
        """As in a shell: "OMP_NUM_THREADS=1 NPROC=1"."""
        return " ".join(
            f"{name}={value!r}" if " " in value else f"{name}={value}" for name, value in self.variables.items()
        )


def load(path: Path = FILE) -> dict[str, Setting]:
    """Every setting by name. Raises SettingError."""
    raw = documents.load(path, SettingError)
    found = {name: documents.converted(one, Setting, f"{path}: {name}", SettingError) for name, one in raw.items()}
    facts = instructions.readable(("jax", "torch"))
    for name, setting in found.items():
        if name == PLAIN or not setting.variables or not setting.shows:
            raise SettingError(f"{path}: {name} must have variables and what it shows, and another name than {PLAIN}")
        if unknown := [v for v in setting.variables if v not in instructions.VARIABLES]:
            raise SettingError(
                f"{path}: {name} sets {unknown[0]}, none of the VARIABLES of adapters/discovery/instructions.py"
            )
        if unknown := [fact for fact in setting.shows if fact not in facts]:
            raise SettingError(f"{path}: {name} shows {unknown[0]}, which nothing reads back")
    return found


def with_caches(caches: Path) -> dict[str, str]:
    """This process's environment with compiled code and probed devices cached in `caches`, and nowhere else."""
    caches.mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if name != "TOUCHSTONE_JAX_CACHE"}
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return {**kept, "TOUCHSTONE_CACHE": str(caches), "TMPDIR": str(caches), "PYTHONPATH": path}


def environment(setting: Setting, caches: Path) -> dict[str, str]:
    """`with_caches`, with the setting alone of what changes instructions and threads."""
    kept = {name: value for name, value in with_caches(caches).items() if name not in instructions.VARIABLES}
    return {**kept, **setting.variables}


def read_back(setting: Setting, distributions: Collection[str], caches: Path) -> dict[str, str]:
    """What the libraries say they use under a setting, read in a child process. Raises SettingError."""
    done = subprocess.run(
        [sys.executable, "-c", _READ, *distributions],
        cwd=ROOT,
        env=environment(setting, caches),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise SettingError(f"what {setting.spelled or PLAIN} does cannot be read back: {last}")
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


def obstacle(setting: Setting, plain: Mapping[str, str], machine: Mapping[str, str]) -> str:
    """Why this machine cannot have the setting, "" where it can.

    plain: what the libraries use without it; machine: `touchstone.adapters.discovery.machine.facts`.

    >>> facts = {"machine": "x86_64", "instruction_set": "avx2", "threads": "2"}
    >>> obstacle(Setting({"XLA_FLAGS": "--xla_cpu_max_isa=AVX512"}, {"xla": "avx512"}), {"xla": "avx2"}, facts)
    'xla avx512 is wider than the processor, avx2'
    """
    wanted = {fact: value for fact, value in setting.shows.items() if fact in plain}
    if not wanted:
        return f"nothing here says what {' and '.join(setting.shows)} {'are' if len(setting.shows) > 1 else 'is'}"
    for fact, value in wanted.items():
        if why := _too_much(fact, value, machine):
            return why
    if all(plain[fact] == value for fact, value in wanted.items()):
        return f"{spell(wanted)} without any variable too"
    return ""


def _too_much(fact: str, value: str, machine: Mapping[str, str]) -> str:
    if fact.endswith(_THREADS):
        more = int(value) > int(machine["threads"])
        return f"{fact} {value} is more than the processors that this process may use, {machine['threads']}" * more
    kinds = [kind for kind, ladder in LEVELS.items() if value in ladder]
    if not kinds:  # "default", which every build of PyTorch has
        return ""
    if machine["machine"] not in kinds:
        return f"{fact} {value} is of {kinds[0]}, and this machine is {machine['machine']}"
    ladder, has = LEVELS[kinds[0]], machine["instruction_set"]
    if has not in ladder or ladder.index(value) > ladder.index(has):
        return f"{fact} {value} is wider than the processor, {has}"
    return ""


def check(name: str, setting: Setting, read: Mapping[str, str], plain: Mapping[str, str]) -> None:
    """Raises SettingError where a fact that can be read here is not what the setting shows."""
    for fact, value in setting.shows.items():
        if fact in plain and read.get(fact) != value:
            said = read.get(fact, "nothing")
            raise SettingError(f"{name} did not take effect: {setting.spelled} should show {fact} {value}, not {said}")


def spell(facts: Mapping[str, str]) -> str:
    """In a line, as "xla avx, numpy avx2"."""
    return ", ".join(f"{name} {value}" for name, value in facts.items())
