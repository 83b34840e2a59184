"""Conversion: what do a framework's own means of quantizing layers and models make, and what do they refuse?"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np

from touchstone.adapters.interface import Packed, Scheme
from touchstone.golden.cases import conversion, quantized
from touchstone.suites import codes, probes
from touchstone.suites.assay import Assay
from touchstone.suites.requirements import requirement
from touchstone.verdict.observation import Deviates, Observation


def _bias(assay: Assay) -> np.ndarray | None:
    return assay.golden("bias") if assay.params.get("bias", "bias" in assay.case.arrays) else None


def _settings(assay: Assay) -> dict[str, Any]:
    return {name: assay.params[name] for name in ("mode", "bits", "group_size") if name in assay.params}


def _converted(assay: Assay) -> dict[str, Any]:
    outcome = assay.ask(
        probes.converted,
        layer=assay.params["layer"],
        weight=assay.golden("table"),
        how=assay.params.get("how", "method"),
        settings=_settings(assay),
        bias=_bias(assay),
    )
    return assay.value(outcome)


@requirement("QAPI-SAME-1", conversion.SAME_CASES)
def test_every_way_gives_the_same_parts(assay: Assay) -> None:
    made, layer = _converted(assay), f"quantized_{assay.params['layer']}"
    want = assay.value(assay.ask(probes.quantize, layer=layer, weight=assay.golden("table"), scheme=assay.scheme))
    for part in quantized.parts_of(codes.form_of(want)):
        assay.same_bits(made["parts"].get(part), getattr(want, part))
    if (bias := _bias(assay)) is not None:
        assay.same_bits(made["parts"].get("bias"), bias, "bias")
    if made["scheme"] != assay.scheme:
        assay.behaves("another scheme", conforms=False, message=f"got {made['scheme']}, want {assay.scheme}")


@requirement("QAPI-DEFAULT-1", conversion.DEFAULT_CASES)
def test_defaults(assay: Assay) -> None:
    mode = assay.params["mode"]
    want = Scheme(*conversion.DEFAULTS[mode], mode)
    made = _converted(assay)
    parts = made["parts"]
    columns = assay.golden("table").shape[1]
    sizes = (parts["weight"].shape[1] * 32 // columns, columns // parts["scales"].shape[1])
    right = made["scheme"] == want and sizes == (want.bits, want.group_size)
    message = f"says {made['scheme']}, stores bits and group_size {sizes}; documented {want}"
    assay.behaves("as documented" if right else "other defaults", conforms=right, message=message)


@requirement("QAPI-REPR-1", conversion.REPR_CASES)
def test_repr(assay: Assay) -> None:
    text, scheme = _converted(assay)["repr"], assay.scheme
    rows, columns = assay.golden("table").shape
    told = [str(rows), str(columns), f"group_size={scheme.group_size}", f"bits={scheme.bits}", scheme.mode]
    absent = [word for word in told if word not in text]
    assay.behaves("incomplete" if absent else "names sizes and scheme", conforms=not absent, message=text)


@requirement("QAPI-FROZEN-1", conversion.FROZEN_CASES)
def test_converted_layers_are_frozen(assay: Assay) -> None:
    trainable = _converted(assay)["trainable"]
    behaviour = f"trainable: {', '.join(trainable)}" if trainable else "frozen"
    assay.behaves(behaviour, conforms=not trainable)


def _model(assay: Assay, **changes: Any) -> dict[str, tuple[str, Any]]:
    """Four layers over the golden table, each of its own weights."""
    table = assay.golden("table")
    layers = {path: (kind, table + np.float32(i)) for i, (path, kind) in enumerate(conversion.MODEL.items())}
    return {**layers, **changes}


def _quantize_model(assay: Assay, choices: Any, weights: Any = None, **settings: Any) -> Any:
    weights = weights or _model(assay)
    return assay.ask(probes.quantized_model, weights=weights, choices=choices, settings=settings)


@requirement("QAPI-PREDICATE-1", conversion.PREDICATE_CASES)
def test_the_predicate_decides_by_path(assay: Assay) -> None:
    choices = conversion.CHOICES[assay.params["predicate"]]
    # Without any choice there is no predicate at all.
    made = assay.value(_quantize_model(assay, choices or None, bits=8, group_size=128))
    want: dict[str, Any] = {}
    for path in conversion.MODEL:
        choice = choices.get(path, True)
        if isinstance(choice, dict):
            mode = choice.get("mode", "affine")
            bits, group = conversion.DEFAULTS[mode]
            want[path] = Scheme(choice.get("bits", bits), choice.get("group_size", group), mode)
        else:
            want[path] = Scheme(8, 128) if choice else None
    weights = {path: weight for path, (_, weight) in _model(assay).items()}
    got = {path: _stored_scheme(assay, layer, weights[path]) for path, layer in made.items()}
    wrong = {path: f"{got.get(path)}, not {scheme}" for path, scheme in want.items() if got.get(path) != scheme}
    assay.behaves("as chosen" if not wrong else "not as chosen", conforms=not wrong, message=str(wrong or got))


def _stored_scheme(assay: Assay, layer: dict[str, Any], weight: np.ndarray) -> Scheme | str | None:
    """The scheme that a layer of the model says and holds; None for one that was left as it was."""
    parts, scheme = layer["parts"], layer["scheme"]
    if scheme is None:
        return None if parts["weight"].tobytes() == weight.tobytes() else "other weights"
    want = assay.value(assay.ask(probes.quantize, layer="quantized_linear", weight=weight, scheme=scheme))
    same = all(
        parts[part].tobytes() == getattr(want, part).tobytes() for part in quantized.parts_of(codes.form_of(want))
    )
    return scheme if same else f"parts that are not those of {scheme}"


@requirement("QAPI-PREDICATE-2", conversion.PARTIAL_CASES)
def test_settings_left_out_of_an_answer(assay: Assay) -> None:
    """The predicate answers {"bits": 8} while the whole model is quantized with group_size 128."""
    made = assay.value(_quantize_model(assay, conversion.CHOICES["part of the settings"], bits=2, group_size=128))
    scheme = made["head"]["scheme"]
    sources = {Scheme(8, 64): "the mode's defaults", Scheme(8, 128): "the call's arguments"}
    assay.behaves(sources.get(scheme, "neither"), message=f"head became {scheme}")


@requirement("QAPI-REFUSE-1", conversion.REFUSED_MODEL_CASES)
def test_models_that_cannot_be_quantized(assay: Assay) -> None:
    fault, word = assay.params["fault"], "dimension"
    choices: dict[str, Any] = {}
    weights = _model(assay)
    if fault == "a predicate that answers yes":
        choices, word = {"head": "yes"}, "predicate"
    elif fault == "an unknown setting":
        choices, word = {"head": {"bits": 4, "groups": 64}}, "groups"
    else:
        weights["head"] = ("linear", np.ascontiguousarray(assay.golden("table")[:, :33]))
    control = _quantize_model(assay, {})
    if control.kind != "value":
        raise Deviates(Observation("control failed", False, message=control.message))
    outcome = _quantize_model(assay, choices, weights)
    clear = outcome.kind == "raised" and word in outcome.message
    behaviour = outcome.behaviour if clear or outcome.kind != "raised" else "unclear error"
    assay.behaves(behaviour, conforms=clear, message=outcome.message)


def _tied(assay: Assay) -> dict[str, Any]:
    weights = {"embed": ("embedding", assay.golden("table")), "head": ("linear", "embed")}
    return assay.value(_quantize_model(assay, None, weights, mode=assay.params["mode"]))


@requirement("QAPI-TIED-1", conversion.TIED_CASES)
def test_a_tied_head_keeps_its_values(assay: Assay) -> None:
    made = _tied(assay)
    for part in made["embed"]["parts"]:
        assay.same_bits(made["head"]["parts"].get(part), made["embed"]["parts"][part])


@requirement("QAPI-TIED-2", conversion.TIED_CASES)
def test_a_tied_head_shares_its_parts(assay: Assay) -> None:
    """Whether the head follows, when the embedding's parts are replaced."""
    adapter = assay.adapter
    weights: dict[str, tuple[str, Any]] = {"embed": ("embedding", assay.golden("table")), "head": ("linear", "embed")}
    made = adapter.quantized_model(weights, None, {"mode": assay.params["mode"]})
    before = made["head"].parameters()["weight"]
    made["embed"].set_parameters({"weight": ~before})
    follows = (made["head"].parameters()["weight"] == ~before).all()
    assay.behaves("one copy" if follows else "two copies")


@requirement("QAPI-SCHEME-1", conversion.WRONG_SCHEME_CASES)
def test_schemes_that_do_not_exist(assay: Assay) -> None:
    layer, table = assay.params["layer"], assay.golden("table")
    control = assay.ask(probes.quantize, layer=layer, weight=table, scheme=Scheme(4, 32))
    if control.kind != "value":
        raise Deviates(Observation("control failed", False, message=control.message))
    outcome = assay.ask(probes.quantize, layer=layer, weight=table, scheme=assay.scheme)
    wrong = assay.params[assay.params["wrong"]]
    named = re.search(rf"(?<![\w-]){re.escape(str(wrong))}(?!\w)", outcome.message)
    clear = outcome.kind == "raised" and named is not None
    behaviour = outcome.behaviour if clear or outcome.kind != "raised" else "unclear error"
    assay.behaves(behaviour, conforms=clear, message=outcome.message)


@requirement("QAPI-PARTS-1", conversion.WRONG_PARTS_CASES)
def test_parts_that_do_not_fit_together(assay: Assay) -> None:
    layer, table, fault = assay.params["layer"], assay.golden("table"), assay.params["parts"]
    good = assay.value(assay.ask(probes.quantize, layer=layer, weight=table, scheme=assay.scheme))
    bad = _damaged(good, fault)
    x = np.ones((1, table.shape[1]), table.dtype)
    probe = probes.call if layer == "quantized_linear" else probes.as_linear
    control = assay.ask(probe, layer=layer, weight=good, inputs=x)
    if control.kind != "value":
        raise Deviates(Observation("control failed", False, message=control.message))
    outcome = assay.ask(probe, layer=layer, weight=bad, inputs=x)
    assay.behaves(outcome.behaviour, conforms=outcome.kind == "raised", message=outcome.message)


def _damaged(packed: Packed, fault: str) -> Packed:
    biases = packed.biases
    if fault == "fewer scale rows":
        return replace(packed, scales=packed.scales[:4].copy(), biases=None if biases is None else biases[:4].copy())
    if fault == "fewer scale columns":
        kept = None if biases is None else biases[:, :1].copy()
        return replace(packed, scales=packed.scales[:, :1].copy(), biases=kept)
    if fault == "fewer words":
        return replace(packed, weight=packed.weight[:, :-1].copy())
    if fault == "other bits":
        return replace(packed, scheme=replace(packed.scheme, bits=8))
    return replace(packed, biases=None)
