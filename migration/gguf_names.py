"""What llama.cpp calls the tensors of an architecture, and what its converter does to their numbers.

Names are the `gguf` package's (`gguf.tensor_mapping`): those of transformers, Meta and others -> GGUF's. What changes
the numbers is llama.cpp's ``convert_hf_to_gguf.py``: Gemma's norms are stored with one added, Mamba's A as -exp(A_log),
gpt-oss's rows of gate and up, which are stored in turns, apart, and its experts transposed where they are no blocks.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from functools import cache

from touchstone.migration.checkpoint import Checkpoint
from touchstone.migration.mapping.expressions import Add, Apply, Part, Permute, Reshape, Step

PAGE = "llama.cpp, gguf.tensor_mapping and convert_hf_to_gguf.py: {}"
ADDS_ONE = ("gemma", "gemma2", "gemma3")
TOGETHER = "gpt-oss"
"""The architecture whose source keeps all experts of a layer in one tensor."""
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
    for here, there, is_source in ((before, after, True), (after, before, False)):
        for name in here:
            found = _found(translated(name), there)
            if not _EXPERT.search(name) and not (architecture == TOGETHER and ".experts." in name) and found:
                out.update([(name, found) if is_source else (found, name)])
    claims = Counter(out.values())
    return {old: new for old, new in out.items() if claims[new] == 1}


def _found(translated: str, there: Collection[str]) -> str:
    """The name, or its weight's: sources leave out that word of a parameter without a module."""
    return next((n for n in (translated, f"{translated}.weight") if translated and n in there), "")


def documents(
    architecture: str,
    source: str,
    target: str,
    steps: Sequence[Step],
    *,
    in_blocks: bool = False,
) -> bool:
    """Whether llama.cpp's converter makes the target so. source, target: names, with the numbers of experts or without.

    in_blocks: whether the source is stored in MXFP4.
    """
    translated = name_of(architecture)
    if translated is None:
        return False
    if architecture == TOGETHER and ".experts." in source:
        return _of_gpt_oss(translated, source, target, steps, in_blocks=in_blocks)
    is_kept = not steps or isinstance(steps[0], Reshape)
    return is_kept and (translated(source) == target or translated(target) == source)


def _of_gpt_oss(
    translated: Callable[[str], str],
    source: str,
    target: str,
    steps: Sequence[Step],
    *,
    in_blocks: bool,
) -> bool:
    is_bias = source.endswith("_bias")
    leaf = ".bias" if is_bias else ".weight"
    name = source.removesuffix("_bias")
    if name.endswith("down_proj"):
        wanted: tuple[Step, ...] = () if is_bias or in_blocks else (Permute((0, 2, 1)),)
        return translated(f"{name}{leaf}") == target and tuple(steps) == wanted
    for k, word in enumerate(("gate_proj", "up_proj")):
        if translated(f"{name.replace('gate_up_proj', word)}{leaf}") == target:
            in_turns: tuple[Step, ...] = (Part(1, k, 2, is_interleaved=True),)
            transposed: tuple[Step, ...] = (Part(2, k, 2, is_interleaved=True), Permute((0, 2, 1)))
            return tuple(steps) == (in_turns if is_bias or in_blocks else transposed)
    return False


def steps(architecture: str, name: str, axes: int, *, to_gguf: bool) -> tuple[Step, ...]:
    """What happens to the numbers of the tensor that GGUF calls so. to_gguf: which way the conversion goes."""
    if architecture in ADDS_ONE and axes == 1 and name.endswith("norm.weight"):
        return (Add(1.0 if to_gguf else -1.0),)
    if architecture in ("mamba", "mamba2") and name.endswith(".ssm_a"):
        return (Apply("-exp(x)" if to_gguf else "log(-x)"),)
    return ()
