"""Does a defect that shows only in a second call, another state, a size, a refusal or an option turn its case red?"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.test_planted_defects import Planted, give, wrap, wrap_layers
from touchstone.adapters import known
from touchstone.adapters.discovery import registry
from touchstone.golden.store import open_golden, open_recorded
from touchstone.suites import direct, requirements
from touchstone.suites.assay import Bench
from touchstone.suites.conclusion import verdict_of

pytestmark = pytest.mark.filterwarnings("default:Initializing zero-element tensors")  # what PyTorch says of no features
DENSE = ("embedding", "raw_lookup", "linear")


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    made = Bench(open_golden(), open_recorded())
    yield made
    made.close()


def red_case(name: str, requirement: str, bench: Bench, plant: Callable[[Any], None] | None) -> str:
    """The first red case of the requirement, asked of the adapter with the defect; empty where none is."""
    target = registry.resolve([f"{name}@cpu"])[0]
    adapter: Any = target.cls("cpu")
    if plant:
        plant(adapter)
    planted = Planted(target, adapter)
    entries = known.load(known.path_for(target.cls), target.cls, requirements.load().keys())
    for question in direct.questions():
        for case in question.cases if question.requirement.id == requirement else ():
            if case.marks or case.memory:
                continue
            assay, error = direct.run(question, planted, replace(case, hazard=None, process=""), bench)
            if verdict_of(assay, error, entries, bootstrap=False)[0].verdict.is_red:
                return case.id
    return ""


def _changing(makers: tuple[str, ...], change: Callable[[Any, Any], None]) -> Callable[[Any], None]:
    def plant(adapter: Any) -> None:
        wrap_layers(adapter, makers, lambda layer: change(adapter, layer))

    return plant


def _answering(answer: Callable[[Any, Any, Any], Any], makers: tuple[str, ...] = DENSE) -> Callable[[Any], None]:
    """A defect of PyTorch's forward computation: (layer, real computation of the inputs, inputs) -> answer."""

    def change(adapter: Any, layer: Any) -> None:
        real = layer._apply
        layer._apply = lambda inputs, method: answer(layer, lambda given: real(given, method), inputs)

    return _changing(makers, change)


def _of_a_shape(layer: Any, real: Any, inputs: Any) -> Any:
    answers = layer.__dict__.setdefault("answers", {})
    return answers.setdefault((tuple(inputs.shape), inputs.dtype), real(inputs))


def _negates(layer: Any, real: Any, inputs: Any) -> Any:
    answer = real(inputs)
    if inputs.is_floating_point() and not inputs.requires_grad:
        inputs.neg_()
    return answer


def _cuts(layer: Any, real: Any, inputs: Any) -> Any:
    columns = layer.native.weight.shape[1]
    return real(inputs[..., :columns] if inputs.is_floating_point() else inputs)


def _few_outputs(layer: Any, real: Any, inputs: Any) -> Any:
    answer = real(inputs).clone()
    answer[..., 2**16 :] = 0
    return answer


def _without_nan(layer: Any, real: Any, inputs: Any) -> Any:
    return real(inputs).nan_to_num()


def _flushes(layer: Any, real: Any, inputs: Any) -> Any:
    answer = real(inputs)
    return answer.where(answer.abs() >= layer.adapter.torch.finfo(answer.dtype).tiny, 0)


def in_another_thread(adapter: Any) -> None:
    made_in = threading.get_ident()

    def change(layer: Any) -> None:
        real = layer._call
        layer._call = lambda module, ids: real(module, ids) * (threading.get_ident() == made_in)

    wrap_layers(adapter, ("embedding",), change)


def compiled_for_a_shape(adapter: Any) -> None:
    def change(layer: Any) -> None:
        compiled = layer.compiled

        def once(compiler: str, method: Any = "call") -> Any:
            function, answers = compiled(compiler, method), dict[Any, Any]()
            return lambda inputs: answers.setdefault((inputs.shape, str(inputs.dtype)), function(inputs))

        layer.compiled = once

    wrap_layers(adapter, ("linear",), change)


def thaws_when_cast(adapter: Any) -> None:
    def change(layer: Any) -> None:
        cast = layer.cast

        def thawing(dtype: str) -> None:
            cast(dtype)
            layer.native.requires_grad_(True)

        layer.cast = thawing

    wrap_layers(adapter, ("linear",), change)


def loads_no_bias(adapter: Any) -> None:
    def change(layer: Any) -> None:
        load = layer.load

        def partly(path: Any, **how: Any) -> None:
            bias = layer.native.bias.detach().clone()
            load(path, **how)
            layer.native.bias.data.copy_(bias)

        layer.load = partly

    wrap_layers(adapter, ("linear",), change)


def converts_what_it_was_made_of(adapter: Any) -> None:
    def change(layer: Any) -> None:
        weight, quantized = layer.native.weight, layer.quantized

        def stale(scheme: Any) -> Any:
            now, layer.native.weight = layer.native.weight, weight
            try:
                return quantized(scheme)
            finally:
                layer.native.weight = now

        layer.quantized = stale

    wrap_layers(adapter, ("embedding",), change)


def steps_in_half_precision(adapter: Any) -> None:
    def change(layer: Any) -> None:
        step = layer.sgd_step
        layer.sgd_step = lambda rate: step(float(np.float16(rate * 1.001)))

    wrap_layers(adapter, ("embedding",), change)


def _loading(strict: bool) -> Callable[[Any], None]:
    def change(adapter: Any, layer: Any) -> None:
        load = layer.load
        layer.load = lambda path, **how: load(path, strict=strict)

    return _changing(("linear",), change)


def raises_another_error(adapter: Any) -> None:
    def answer(layer: Any, real: Any, inputs: Any) -> Any:
        try:
            return real(inputs)
        except IndexError as error:
            raise RuntimeError(*error.args) from error

    _answering(answer)(adapter)


def loses_gradients_of_late_rows(adapter: Any) -> None:
    def change(layer: Any) -> None:
        vjp = layer.vjp

        def early(inputs: Any, cotangent: Any, method: Any = "call") -> Any:
            kept = np.array(cotangent)
            kept[2**15 :] = 0
            return vjp(inputs, kept, method)

        layer.vjp = early

    wrap_layers(adapter, ("linear",), change)


def sends_negative_gradients_to_row_zero(adapter: Any) -> None:
    def change(layer: Any) -> None:
        vjp = layer.vjp
        layer.vjp = lambda ids, *rest: vjp(np.maximum(ids, 0), *rest)

    wrap_layers(adapter, ("raw_lookup",), change)


def _without_part(layer: str, part: str) -> Callable[[Any], None]:
    def change(weight: Any, parts: dict[str, Any]) -> Any:
        parts.pop(part, None)
        return weight

    return lambda adapter: give(adapter, (layer,), change)


def _without_option(option: str) -> Callable[[Any], None]:
    def plant(adapter: Any) -> None:
        original = adapter.construct

        def made(*given: Any, **options: Any) -> Any:
            return original(*given, **{name: value for name, value in options.items() if name != option})

        adapter.construct = made

    return plant


def halves_sparse_gradients(adapter: Any) -> None:
    def change(layer: Any) -> None:
        if layer.native.sparse:
            vjp = layer.vjp
            layer.vjp = lambda *given: {name: value / 2 for name, value in vjp(*given).items()}

    wrap_layers(adapter, ("embedding",), change)


def computes_in_bfloat16(adapter: Any) -> None:
    def change(weight: Any, parts: dict[str, Any]) -> Any:
        parts["dtype"] = "bfloat16"
        return weight

    give(adapter, ("linear",), change)


def _seeding(change: Callable[[int], int]) -> Callable[[Any], None]:
    def plant(adapter: Any) -> None:
        original = adapter.construct_several
        adapter.construct_several = lambda plan, seed, **options: original(plan, change(seed), **options)

    return plant


def makes_every_layer_from_the_seed(adapter: Any) -> None:
    original = adapter.construct_several
    adapter.construct_several = lambda plan, seed, **options: [original([one], seed, **options)[0] for one in plan]


def rolls_other_functions(adapter: Any) -> None:
    def change(layer: Any) -> None:
        real = layer._call
        layer._call = lambda module, inputs: real(module, inputs).roll(1, 0)

    wrap_layers(adapter, DENSE, change, "spelling")


def transposes_a_square_gradient(adapter: Any) -> None:
    def change(layer: Any) -> None:
        vjp = layer.vjp

        def turned(inputs: Any, cotangent: Any, method: Any = "call") -> Any:
            found = vjp(inputs, cotangent, method)
            square = found["weight"].shape[0] == found["weight"].shape[1]
            return {**found, "weight": found["weight"].T.copy()} if square and method == "as_linear" else found

        layer.vjp = turned

    wrap_layers(adapter, ("embedding",), change)


def hides_the_bias(adapter: Any) -> None:
    wrap(adapter, "construct", lambda layer: setattr(layer.native, "extra_repr", lambda: "in_features=7"))


def _turns_where_three_meet(layer: Any, real: Any, inputs: Any) -> Any:
    """Of x of three axes that is a view, by 65 outputs."""
    answer, rows = real(inputs), layer.native.weight.shape[0]
    meets = inputs.is_floating_point() and inputs.dim() == 3 and not inputs.is_contiguous() and rows == 65
    return answer.flip(1) if meets else answer


def _spreads_rows(layer: Any, real: Any, inputs: Any) -> Any:
    answer = real(inputs)
    return answer + 0 * inputs.sum() if inputs.is_floating_point() else answer


def _clamps_below(layer: Any, real: Any, inputs: Any) -> Any:
    return real(inputs if inputs.is_floating_point() or inputs.dim() < 2 else inputs.clamp(min=0))


def _in_single_precision(layer: Any, real: Any, inputs: Any) -> Any:
    answer = real(inputs)
    return answer.float().double() if answer.element_size() == 8 else answer


def casts_encoded_scales(adapter: Any) -> None:
    def change(layer: Any) -> None:
        to = {"float16": adapter.mx.float16}
        layer.cast = lambda dtype: layer.native.set_dtype(to[dtype], lambda held: held != adapter.mx.uint32)

    wrap_layers(adapter, ("quantized_linear",), change)


def packs_the_first_weights(adapter: Any) -> None:
    def change(layer: Any) -> None:
        kept: dict[str, Any] = {}

        def set_training(training: bool) -> None:
            layer.native.train(training)
            if not training:
                layer.native.update(kept.setdefault("first", dict(layer.native.parameters())))

        layer.set_training = set_training

    wrap(adapter, "converted", change)


def unties_copies(adapter: Any) -> None:
    def change(layer: Any) -> None:
        copied = layer.copied

        def untied(how: str) -> Any:
            made = copied(how)
            made.native.head.weight = adapter.torch.nn.Parameter(made.native.head.weight.detach().clone())
            return made

        layer.copied = untied

    wrap_layers(adapter, ("tied_model",), change)


def answers_are_the_table(adapter: Any) -> None:
    def change(layer: Any) -> None:
        layer.overwrite_answer = lambda inputs, method: layer.native.weight.data.zero_()

    wrap_layers(adapter, ("embedding",), change)


def repeats_rows(adapter: Any) -> None:
    def change(layer: Any) -> None:
        rows = layer.native.weight.data
        rows[2**15 :] = rows.repeat(2, 1)[: len(rows) - 2**15]

    wrap(adapter, "construct", change)


def forgets_momentum(adapter: Any) -> None:
    def change(layer: Any) -> None:
        real = layer.momentum_steps
        layer.momentum_steps = lambda inputs, cotangent, steps, rate, _: real(inputs, cotangent, steps, rate, 0.0)

    wrap_layers(adapter, ("linear",), change)


def sorts_layers_as_text(adapter: Any) -> None:
    give(adapter, ("stack",), lambda weights, parts: [weights[n] for n in sorted(range(len(weights)), key=str)])


def converts_and_thaws(adapter: Any) -> None:
    def change(layer: Any) -> None:
        real = layer.convert

        def convert(module: str, scheme: Any) -> None:
            real(module, scheme)
            layer.native.unfreeze()

        layer.convert = convert

    wrap_layers(adapter, ("tied_model",), change)


PLANTED: dict[str, tuple[str, str, Callable[[Any], None]]] = {
    "answers of a shape are kept": ("torch", "AGAIN-1", _answering(_of_a_shape)),
    "compiled answers of a shape are kept": ("torch", "AGAIN-2", compiled_for_a_shape),
    "another thread gets zeros": ("mlx", "AGAIN-3", in_another_thread),
    "inputs are negated": ("torch", "KEEP-1", _answering(_negates)),
    "a cast thaws": ("torch", "STATE-1", thaws_when_cast),
    "a bias is not loaded": ("torch", "STATE-1", loads_no_bias),
    "a conversion takes the first weights": ("mlx", "STATE-QUANTIZED-1", converts_what_it_was_made_of),
    "a rate is a little larger": ("torch", "STATE-STEP-1", steps_in_half_precision),
    "what is too long is cut": ("torch", "REFUSE-SHAPE-1", _answering(_cuts)),
    "files are loaded in part": ("mlx", "REFUSE-FILE-1", _loading(strict=False)),
    "lenient is strict": ("mlx", "REFUSE-FILE-2", _loading(strict=True)),
    "an id outside raises RuntimeError": ("torch", "REFUSE-KIND-1", raises_another_error),
    "outputs beyond 2**16 are zero": ("torch", "SIZE-PRODUCT-1", _answering(_few_outputs)),
    "late rows have no gradient": ("torch", "SIZE-GRADIENT-1", loses_gradients_of_late_rows),
    "NaN becomes zero": ("torch", "SPECIAL-PRODUCT-1", _answering(_without_nan)),
    "subnormal numbers are flushed": ("torch", "SPECIAL-SUBNORMAL-1", _answering(_flushes)),
    "negative ids train row zero": ("torch", "GRAD-NEGATIVE-1", sends_negative_gradients_to_row_zero),
    "padding is ignored": ("torch", "OPTION-PADDING-1", _without_part("embedding", "padding_idx")),
    "the norm is ignored": ("torch", "OPTION-NORM-1", _without_part("embedding", "max_norm")),
    "frequency is ignored": ("torch", "OPTION-FREQUENCY-1", _without_part("embedding", "scale_grad_by_freq")),
    "sparse gradients are halved": ("torch", "OPTION-SPARSE-1", halves_sparse_gradients),
    "the dtype of computing is ignored": ("jax", "OPTION-DTYPE-1", _without_part("embedding", "dtype")),
    "products are of bfloat16": ("jax", "OPTION-PRECISION-1", computes_in_bfloat16),
    "the stored dtype is ignored": ("jax", "OPTION-INIT-1", _without_option("param_dtype")),
    "options are ignored on every shape": ("torch", "OPTION-SHAPE-1", _without_part("embedding", "padding_idx")),
    "every method ignores the dtype of computing": ("jax", "OPTION-DTYPE-2", _without_part("linear", "dtype")),
    "another function is one row off": ("torch", "SPELLING-1", rolls_other_functions),
    "a head's gradient is transposed": ("torch", "GRAD-EXACT-1", transposes_a_square_gradient),
    "a layout, a rank and a size turn rows": ("torch", "CROSS-1", _answering(_turns_where_three_meet)),
    "NaN spreads over rows": ("torch", "SPECIAL-ROW-1", _answering(_spreads_rows)),
    "negative ids of two axes are clamped": ("torch", "LOOKUP-ID-1", _answering(_clamps_below)),
    "float64 is rounded to float32": ("torch", "DOUBLE-1", _answering(_in_single_precision)),
    "encoded scales are cast": ("mlx", "STATE-QUANTIZED-2", casts_encoded_scales),
    "the first weights are packed": ("mlx", "STATE-QUANTIZED-3", packs_the_first_weights),
    "a copy is untied": ("torch", "STATE-MODEL-1", unties_copies),
    "answers are the table": ("torch", "KEEP-2", answers_are_the_table),
    "a new row of padding is drawn": ("torch", "OPTION-PADDING-2", _without_option("padding_idx")),
    "rows repeat": ("torch", "INIT-ROWS-1", repeats_rows),
    "a wider dtype is ignored": ("jax", "OPTION-WIDE-1", _without_part("linear", "preferred_element_type")),
    "momentum is forgotten": ("torch", "STATE-STEP-2", forgets_momentum),
    "layers are in the order of text": ("torch", "STATE-LIST-1", sorts_layers_as_text),
    "a conversion thaws": ("mlx", "STATE-MODEL-2", converts_and_thaws),
    "a trained table is frozen anyhow": ("torch", "OPTION-PRETRAINED-1", _without_part("embedding", "freeze")),
    "a repr hides the bias": ("torch", "INIT-REPR-2", hides_the_bias),
    "seeds have 16 bits": ("torch", "INIT-SEED-2", _seeding(lambda seed: seed % 2**16)),
    "a new process draws otherwise": ("torch", "INIT-SEED-3", _seeding(lambda seed: seed + 1)),
    "every layer starts from the seed": ("torch", "INIT-APART-1", makes_every_layer_from_the_seed),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_defect_is_red(name: str, bench: Bench) -> None:
    target, requirement, plant = PLANTED[name]
    assert red_case(target, requirement, bench, None) == ""
    assert red_case(target, requirement, bench, plant) != ""
