"""A Llama's parameters: the tree, its count, what is printed, and what saving and loading keep."""

from __future__ import annotations

import re
import tempfile
from math import prod
from pathlib import Path

import numpy as np

from touchstone.golden import llama
from touchstone.golden.cases import llama as cases
from touchstone.suites.assay import Assay
from touchstone.suites.migration import llamas
from touchstone.suites.requirements import requirement


@requirement("LLAMA-TREE-1", cases.TREE_CASES)
def test_the_tree(assay: Assay) -> None:
    """Names and shapes as the convention gives them, dtypes and bits as given; and so their number."""
    given = llamas.weights(assay)
    got = llamas.by_meta(assay, llamas.shared_model(assay).parameters())
    want = llama.shapes(llamas.config(assay))
    shapes = {name: value.shape for name, value in got.items()}
    count, expected = sum(value.size for value in got.values()), sum(map(prod, want.values()))
    message = f"{count} parameters, want {expected}; differing: {sorted(shapes.items() ^ want.items())}"
    same = shapes == want and count == expected
    assay.behaves("same tree" if same else "another tree", conforms=same, message=message)
    for name, value in got.items():
        assay.same_bits(value, given[name], name)


@requirement("LLAMA-PRINT-1", cases.TREE_CASES)
def test_the_printed_module(assay: Assay) -> None:
    """By name every module that holds a parameter, and the numbers that sizes and results depend on."""
    found, config = llamas.shared_model(assay), llamas.config(assay)
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(found))
    names = {part for name in found.parameters() for part in name.split(".")[:-1] if not part.isdigit()}
    sizes = {config.vocabulary, config.dims, config.mlp_dims, config.eps}
    words = set(re.findall(r"[A-Za-z_]\w*|[\d.]+e-\d+|\d+", text))
    missing = sorted(names - words) + sorted(map(str, {s for s in sizes if str(s) not in words}))
    assay.behaves("complete" if not missing else "incomplete", conforms=not missing, message=f"missing: {missing}")


@requirement("LLAMA-SAVE-1", cases.SAVE_CASES)
def test_save_and_load(assay: Assay) -> None:
    saved = llamas.shared_model(assay)
    other = llamas.model(assay, {name: -2 * value for name, value in llamas.weights(assay).items()})
    with tempfile.TemporaryDirectory() as folder:
        saved.save(Path(folder) / "llama")
        other.load(Path(folder) / "llama")
    want, got = saved.parameters(), other.parameters()
    same = got.keys() == want.keys()
    assay.behaves("same names" if same else "other names", conforms=same, message=str(sorted(got.keys() ^ want.keys())))
    for name, value in want.items():
        assay.same_bits(got[name], value)
    ids = assay.golden("ids")
    assay.same_bits(other.logits(ids), np.array(saved.logits(ids)))
