"""A whole Llama: are its logits right, and does it generate the same with and without a cache?"""

from __future__ import annotations

import numpy as np

from touchstone.golden import llama, llama_bounds
from touchstone.golden.cases import llama as cases
from touchstone.suites.assay import Assay
from touchstone.suites.migration import llamas
from touchstone.suites.requirements import requirement
from touchstone.verdict.observation import Deviates, Observation


@requirement("LLAMA-LOGITS-1", cases.LOGIT_CASES)
def test_logits(assay: Assay) -> None:
    want, bound = llamas.logits(assay)
    assay.within(llamas.shared_model(assay).logits(assay.golden("ids")), want, bound, "float32")


@requirement("LLAMA-COMPILED-1", cases.COMPILED_CASES)
def test_compiled_logits(assay: Assay) -> None:
    """The second call, after other ids of the same shape."""
    ids = assay.golden("ids")
    function = llamas.shared_model(assay).compiled()
    function(np.zeros_like(ids))
    want, bound = llamas.logits(assay)
    assay.within(function(ids), want, bound, "float32")


@requirement("LLAMA-GREEDY-1", cases.GREEDY_CASES)
def test_greedy_tokens(assay: Assay) -> None:
    """Token by token as long as float64's two largest logits are further apart than the bound."""
    prompt, given = assay.golden("ids"), (llamas.config(assay), llamas.weights(assay))
    count = cases.GENERATED

    def expect() -> tuple[np.ndarray, np.ndarray]:
        ids = llama.generate(*given, prompt, count)
        logits = np.sort(llama.logits(*given, ids[:, :-1]), -1)[:, -count:]
        bound = llama_bounds.logits(*given, ids[:, :-1])[:, -count:, 0]
        return ids, np.logical_and.accumulate(logits[..., -1] - logits[..., -2] > bound, -1)

    want, decided = llamas.kept(assay, "greedy", expect, given[0].tied)
    got = llamas.shared_model(assay).generate(prompt, count, cache=assay.params["cache"])
    if not decided.all():
        want = np.concatenate([prompt, np.where(decided, want[:, -count:], got[:, -count:])], 1)
    if not decided.any():
        raise Deviates(Observation("nothing compared", False, message="no token stands out from the next likeliest"))
    assay.same_bits(got, want)


@requirement("LLAMA-CACHE-1", cases.CHUNK_CASES)
def test_a_sequence_in_pieces(assay: Assay) -> None:
    """Against float64, and against the same model given the whole sequence."""
    ids, found = assay.golden("ids"), llamas.shared_model(assay)
    got = found.chunked(ids, [int(n) for n in assay.params["chunks"].split(",")])
    want, bound = llamas.logits(assay)
    assay.within(got, want, bound, "float32")
    assay.within(got, found.logits(ids).astype(np.float64), bound, "float32")
