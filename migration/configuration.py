"""Does the target's configuration say what is stored?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from touchstone.golden.packing import Format
from touchstone.migration import fields, hypotheses
from touchstone.migration.conventions import Heads, Name
from touchstone.migration.findings import Finding
from touchstone.migration.hypotheses import Sample
from touchstone.migration.mapping.knowledge import Knowledge
from touchstone.migration.pairing import Pair, Pairing
from touchstone.migration.parameters import foreign_method

_KEYS = ("quantization", "quantization_config")


def of_tensors(pairing: Pairing, config: Mapping[str, Any], knowledge: Knowledge) -> Iterator[tuple[str, Finding]]:
    """(name, verdict) of every matrix of the target of whose quantization its configuration speaks, or should."""
    for pair in pairing.pairs:
        target = pair.target
        is_silent = target.claimed is None and not (target.is_packed and config)
        if is_silent or pair.is_tied or (not target.is_packed and not _could_be_packed(pair)):
            continue
        yield target.name, _claim(pair, knowledge)


def _could_be_packed(pair: Pair) -> bool:
    """Matrices of layers that mlx-lm quantizes: embedding tables, linear weights, and those of all experts."""
    axes = 3 if "switch" in pair.target.name else 2
    return len(pair.target.shape) == axes and Name.of(pair.target.name).leaf == "weight"


def _why_unquantized(pair: Pair, claimed: Format, knowledge: Knowledge) -> str:
    """Why a matrix is not packed as the configuration says of all, "" where nothing explains it."""
    target = pair.target
    if target.shape[-1] % claimed.group_size:
        columns = f"{target.shape[-1]} columns"
        return f"{columns} do not divide by group_size {claimed.group_size}, so it stays {target.dtype}"
    if knowledge.leaves_unquantized(target.name):
        return f"mlx-lm leaves it {target.dtype} ({knowledge.page})"
    if knowledge.of_images(target.name):
        return f"mlx-vlm leaves what sees or hears {target.dtype} (mlx_vlm/utils.py, skip_multimodal_module)"
    method = foreign_method(knowledge.config)
    if method and not pair.source.encoding:
        return f"its source, quantized by {method}, keeps it in {pair.source.dtype} too"
    return ""


def _claim(pair: Pair, knowledge: Knowledge) -> Finding:
    target, claimed = pair.target, pair.target.claimed
    facts: dict[str, Any] = {"dtype": target.dtype, "shape": target.shape}
    if claimed is None:
        text = f"its parts are packed, and its configuration has no {_KEYS[0]} that can be read"
        return Finding("quantization missing in the configuration", False, text, **facts)
    if not isinstance(claimed, Format):
        if target.is_packed:
            return Finding("quantized against the configuration", False, "its configuration says it is not", **facts)
        return Finding("not quantized as configured", True, "its configuration says so", **facts)
    if not target.is_packed:
        if why := _why_unquantized(pair, claimed, knowledge):
            return Finding("left unquantized", True, why, **facts)
        text = f"its configuration says {claimed.name}, and it is stored as {target.dtype}"
        return Finding("silently unquantized", False, text, **facts)
    stored = target.form
    if stored is None or target.shape[-1] != pair.wanted_shape[-1]:
        text = f"its configuration says {claimed.name}, and its parts do not have its source's columns so"
        return Finding("bits read as another width", False, text, **facts)
    if stored == claimed:
        return Finding("as configured", True, claimed.name, **facts)
    names = [n for n in ("mode", "bits", "group_size") if getattr(stored, n) != getattr(claimed, n)]
    wrong = " and ".join(n.replace("_size", " size") for n in names)
    text = f"its configuration says {claimed.name}; for its source's columns its parts are {stored.name}"
    return Finding(f"wrong {wrong} in the configuration", False, text, **facts)


def of_model(pairing: Pairing, source: Mapping[str, Any], target: Mapping[str, Any]) -> Iterator[tuple[str, Finding]]:
    """(name, verdict) of what the target's configuration says of the whole model. Reads some rows of head and table."""
    settings = next((target[key] for key in _KEYS if key in target), None)
    if settings is not None and not _is_readable(settings):
        text = f"its configuration's {_KEYS[0]} is {str(settings)[:100]}; write bits, group_size and mode"
        yield _KEYS[0], Finding("quantization that cannot be read", False, text)
    before, after = Heads.of(source), Heads.of(target)
    if before.query and after.query and before != after:
        text = f"{after.query} heads of q and {after.key} of k; its source has {before.query} and {before.key}"
        yield "number of heads", Finding("other number of heads", False, text)
    for found in fields.differences(source, target):
        is_said = found.name in _HEADS_SAID and before.query and after.query
        if is_said or (found.name == "vocab_size" and _is_table_size(pairing, found.after)):
            continue
        what = "" if found.known else "; what it does is not understood here"
        text = f"{found.name} is {_short(found.after)}; its source's configuration says {_short(found.before)}{what}"
        yield found.name, Finding("other value in the configuration", False, text)
    ties = target.get("tie_word_embeddings")
    has_none = pairing.head == (None, None) and source.get("tie_word_embeddings") is False  # a model of embeddings
    if isinstance(ties, bool) and pairing.table[1] and not (has_none and not ties):
        yield "tie_word_embeddings", _tying(pairing, ties)


_HEADS_SAID = ("num_attention_heads", "num_key_value_heads")
"""Fields that have a finding of their own where both sides say them."""


def _is_table_size(pairing: Pairing, size: Any) -> bool:
    """Whether the target's table has so many rows, so that a padded one is what the configuration says."""
    return bool(pairing.table[1]) and pairing.target[str(pairing.table[1])].length == size


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _is_readable(settings: Any) -> bool:
    if not isinstance(settings, Mapping):
        return False
    if not {"bits", "group_size", "mode"} & settings.keys():
        return True  # another library's
    numbers = (settings.get("bits"), settings.get("group_size"))
    return all(n is None or (isinstance(n, int) and not isinstance(n, bool) and n > 0) for n in numbers)


def _tying(pairing: Pairing, ties: bool) -> Finding:
    table, head = pairing.table[1], pairing.head[1]
    said = f"its configuration has tie_word_embeddings {str(ties).lower()}"
    if head is None:
        if ties:
            return Finding("as configured", True, f"{said}, and it stores no head")
        return Finding("head missing for the configuration", False, f"{said}, and it stores no head")
    if not ties:
        return Finding("as configured", True, f"{said}, and it stores {head}")
    assert table
    both = Pair(pairing.target[table], pairing.target[head], "the configuration")
    if both.wanted_shape == both.target.shape and hypotheses.explains(both, Sample.ends(both)):
        return Finding("as configured", True, f"{said}, and {head} is a copy of {table}")
    return Finding("head that the configuration ties", False, f"{said}, and {head} is no copy of {table}")
