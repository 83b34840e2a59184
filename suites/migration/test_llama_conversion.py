"""The conversion that MLX's documentation shows: does its Llama load Meta's weights, renamed into an .npz file?"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from touchstone.golden.cases import llama as cases
from touchstone.suites.assay import Assay
from touchstone.suites.migration import llamas
from touchstone.suites.requirements import requirement

_RULES: tuple[tuple[tuple[str, ...], tuple[tuple[str, str], ...]], ...] = (
    (("tok_embedding",), (("tok_embeddings", "embedding"),)),
    (("norm",), (("attention_norm", "norm1"), ("ffn_norm", "norm2"))),
    (
        ("wq", "wk", "wv", "wo"),
        (("wq", "query_proj"), ("wk", "key_proj"), ("wv", "value_proj"), ("wo", "out_proj")),
    ),
    (
        ("w1", "w2", "w3"),
        (("feed_forward.w1", "linear1"), ("feed_forward.w3", "linear2"), ("feed_forward.w2", "linear3")),
    ),
    (("output",), (("output", "out_proj"),)),
)
"""What a name holds -> what is replaced in it; the first rule that fits, as the documentation's script has them."""
_LEFT_OUT = "rope"


def _renamed(name: str) -> str:
    for parts, pairs in _RULES:
        if any(part in name for part in parts):
            for old, new in pairs:
                name = name.replace(old, new)
            return name
    return name


@requirement("LLAMA-CONVERT-1", cases.CONVERT_CASES)
def test_the_documented_conversion(assay: Assay) -> None:
    """Into a model of other weights; a table of rotations in Meta's file is left out."""
    given = llamas.weights(assay, assay.params["dtype"])
    stored = {**given, "rope.freqs": np.ones(8, np.float32)}
    converted = llamas.model(assay, {name: -2 * value for name, value in given.items()})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "llama.npz"
        named: dict[str, Any] = {_renamed(name): value for name, value in stored.items() if _LEFT_OUT not in name}
        np.savez(path, **named)
        converted.load(path)
    got = llamas.by_meta(assay, converted.parameters())
    same = got.keys() == given.keys()
    assay.behaves(
        "same names" if same else "other names", conforms=same, message=str(sorted(got.keys() ^ given.keys()))
    )
    for name, value in given.items():
        assay.same_bits(got[name], value, name)
    ids = assay.golden("ids")
    assay.same_bits(converted.logits(ids), np.array(llamas.shared_model(assay, assay.params["dtype"]).logits(ids)))
