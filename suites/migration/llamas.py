"""What the tests of the Llama share: the target's model over golden weights, and what float64 says of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, TypeVar

import numpy as np

from touchstone.adapters.interface import Packed, Scheme
from touchstone.adapters.language import LanguageModel, LlamaConfig
from touchstone.golden import llama, llama_bounds, packing, rounding
from touchstone.golden.cases import llama as cases
from touchstone.golden.llama import Config, Step
from touchstone.migration import llama_names
from touchstone.suites.assay import Assay

SCHEME = Scheme(cases.BITS, cases.GROUP_SIZE)
Made = TypeVar("Made")


def kept(assay: Assay, what: str, make: Callable[[], Made], *key: Any) -> Made:
    """Made once per run and kept on its bench."""
    held = assay.bench.kept
    if (name := ("llama", what, *key)) not in held:
        held[name] = make()
    return held[name]


def config(assay: Assay) -> Config:
    """Sizes of the case's model, and whether its head is the token table."""
    return cases.config_of(assay.case)


def weights(assay: Assay, dtype: str = "float32") -> dict[str, np.ndarray]:
    """The case's weights by Meta's names, rounded once to the dtype."""
    found = {name: assay.golden(name) for name in assay.case.arrays if name.endswith(".weight")}
    if dtype == "float32":
        return found
    return {name: rounding.to_dtype(value.astype(np.float64), dtype) for name, value in found.items()}


def model(assay: Assay, values: Mapping[str, Any] | None = None) -> LanguageModel:
    """A new model of the target over weights by Meta's names, the case's by default."""
    given = weights(assay) if values is None else values
    own = llama_names.convert(given, assay.target.cls.convention)
    return assay.adapter.llama(LlamaConfig(**asdict(config(assay))), own)


def by_meta(assay: Assay, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Parameters or gradients under the target's names, by Meta's names and in Meta's layout."""
    return llama_names.restore(values, assay.target.cls.convention)


def shared_model(assay: Assay, dtype: str = "float32") -> LanguageModel:
    """A model that no test may change."""
    key = ("llama", "model", assay.target.id, config(assay).tied, dtype)
    held = assay.bench.kept
    if not getattr(held.get(key), "is_alive", key in held):  # its process may have been replaced
        held[key] = model(assay, weights(assay, dtype))
    return held[key]


def operation(assay: Assay, name: str, found: LanguageModel) -> Callable[..., np.ndarray]:
    """Meta's operation as the target's model carries it out on given inputs."""
    convention = assay.target.cls.convention
    path = llama_names.operation(name.partition("#")[0], convention, tied=config(assay).tied)
    return lambda *inputs, **settings: found.apply(path, *inputs, **settings)


def step(assay: Assay, name: str) -> Step:
    """The operation as float64 carries it out on the case's ids."""
    steps = kept(
        assay, "steps", lambda: llama.with_loss(config(assay), weights(assay), assay.golden("ids")), config(assay).tied
    )
    return next(s for s in steps if s.name == name)


def dense(parts: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """float64 weights by Meta's names, from arrays by Meta's names of which some are parts of packed matrices."""
    form = packing.format_of("affine", SCHEME.bits, SCHEME.group_size)
    out = {}
    for name, value in parts.items():
        stem, _, part = name.rpartition(".")
        if part == "weight" and f"{stem}.scales" in parts:
            value = packing.dequantize(value, parts[f"{stem}.scales"], parts[f"{stem}.biases"], form)
        if part == "weight":
            out[name] = value.astype(np.float64)
    return out


def packed(parts: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The same with `Packed` matrices under the names of their words."""
    out: dict[str, Any] = {}
    for name, value in parts.items():
        stem, _, part = name.rpartition(".")
        if part == "weight":
            both = (parts.get(f"{stem}.scales"), parts.get(f"{stem}.biases"))
            out[name] = value if both[0] is None else Packed(value, *both, SCHEME)
    return out


def logits(assay: Assay) -> tuple[np.ndarray, np.ndarray]:
    """Logits of the case's ids in float64, and the bound on them."""

    def make() -> tuple[np.ndarray, np.ndarray]:
        given = (config(assay), weights(assay), assay.golden("ids"))
        return llama.logits(*given), llama_bounds.logits(*given)

    return kept(assay, "logits", make, config(assay).tied)


def gradients(assay: Assay) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The "loss" and gradients by Meta's names in float64, and the bounds on them."""

    def make() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        given = (config(assay), weights(assay), assay.golden("ids"))
        loss, found = llama.gradients(*given)
        return {**found, "loss": loss}, llama_bounds.gradients(*given)

    return kept(assay, "gradients", make, config(assay).tied)
