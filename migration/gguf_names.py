"""What llama.cpp calls the tensors of an architecture, and what its converter does to their numbers.

Names are the `gguf` package's (`gguf.tensor_mapping`): those of transformers, Meta and others -> GGUF's. What changes
the numbers is llama.cpp's ``convert_hf_to_gguf.py``: Gemma's norms are stored with one added, Mamba's A as -exp(A_log).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection
from functools import cache

from touchstone.migration.checkpoint import Checkpoint
from touchstone.migration.mapping.expressions import Add, Apply, Step

PAGE = "llama.cpp, gguf.tensor_mapping and convert_hf_to_gguf.py: {}"
ADDS_ONE = ("gemma", "gemma2", "gemma3")
_EXPERT = re.compile(r"(?<=\.experts)\.\d+(?=\.)")
_MOST_BLOCKS = 1024


def architecture_of(*checkpoints: Checkpoint) -> str:
    """The architecture that a GGUF file among them says it is, "" where there is none."""
    return next((str(c.config.get("general.architecture", "")) for c in checkpoints if c.format == "gguf"), "")


@cache
def name_of(architecture: str) -> Callable[[str], str] | None:
    """What turns another ecosystem's name into GGUF's ("" where it has none); None for an unknown architecture."""
    import gguf

    known = {name: number for number, name in gguf.MODEL_ARCH_NAMES.items()}
    if architecture not in known:
        return None
    names = gguf.get_tensor_name_map(known[architecture], _MOST_BLOCKS)

    def translated(name: str) -> str:
        for text in (name, name.removeprefix("language_model."), f"model.{name}"):
            if found := names.get_name(_EXPERT.sub("", text), try_suffixes=(".weight", ".bias")):
                return str(found)
        return ""

    return translated


def pairs(before: Collection[str], after: Collection[str], architecture: str) -> dict[str, str]:
    """Source -> target of tensors that are one in both namings; experts, which GGUF stacks, have no such pair."""
    translated = name_of(architecture)
    if translated is None:
        return {}
    out: dict[str, str] = {}
    for name in before:
        if not _EXPERT.search(name) and translated(name) in after:
            out[name] = translated(name)
    for name in after:
        if not _EXPERT.search(name) and translated(name) in before:
            out[translated(name)] = name
    claims = Counter(out.values())
    return {old: new for old, new in out.items() if claims[new] == 1}


def says_same(architecture: str, source: str, target: str) -> bool:
    """Whether two names, without the numbers of experts, are one tensor's in both namings."""
    translated = name_of(architecture)
    return translated is not None and (translated(source) == target or translated(target) == source)


def steps(architecture: str, name: str, axes: int, *, to_gguf: bool) -> tuple[Step, ...]:
    """What happens to the numbers of the tensor that GGUF calls so. to_gguf: which way the conversion goes."""
    if architecture in ADDS_ONE and axes == 1 and name.endswith("norm.weight"):
        return (Add(1.0 if to_gguf else -1.0),)
    if architecture in ("mamba", "mamba2") and name.endswith(".ssm_a"):
        return (Apply("-exp(x)" if to_gguf else "log(-x)"),)
    return ()
