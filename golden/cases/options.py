"""Cases about options of constructors: what each asks of lookups, products, gradients and parameters."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

from touchstone.golden.cases import exact_gradients
from touchstone.golden.cases.lookup import FLOATS
from touchstone.golden.catalogue import Case, add
from touchstone.golden.recipes import Recipe

ROWS, DIMS = 9, 6
PADDING = (3, 0, -1)
"""Rows named as padding: an inner one, the first, and the last counted from the end."""
NORM_TYPES = (2.0, 1.0)


def _arrays(dtype: str) -> dict[str, str]:
    return {
        "weight": add(f"options/{dtype}/weight", Recipe("uniform", dtype, (ROWS, DIMS))),
        "ids": add("options/ids", Recipe("values", "int32", (2, 4), {"values": (3, 0, 8, 3, 3, 5, 8, 1)})),
        "x": add(f"options/{dtype}/x", Recipe("uniform", dtype, (4, DIMS))),
        "bias": add(f"options/{dtype}/bias", Recipe("uniform", dtype, (ROWS,))),
        "cotangent": add(f"options/{dtype}/cotangent", Recipe("integers", dtype, (2, 4, DIMS), {"low": -4, "high": 5})),
    }


def _case(layer: str, dtype: str, names: tuple[str, ...], *needs: str, **params: Any) -> Case:
    options = tuple(f"option:{layer} {name}" for name in names)
    spelled = {"layer": layer, "dtype": dtype, **params}
    return Case(spelled, _arrays(dtype), (f"layer:{layer}", f"dtype:{dtype}", *options, *needs))


def _by_function(cases: Sequence[Case]) -> list[Case]:
    """The cases, and the same of the function that the layer calls, which takes the options itself."""
    return [
        *cases,
        *(
            Case(
                {**case.params, "spelling": "functional"},
                case.arrays,
                (
                    "layer:raw_lookup",
                    "spelling:raw_lookup functional",
                    *(need.replace("option:embedding", "option:functional") for need in case.needs),
                ),
            )
            for case in cases
        ),
    ]


PADDING_CASES = _by_function(
    [
        _case("embedding", dtype, ("padding_idx",), "gradients", padding_idx=row)
        for dtype, row in product(FLOATS, PADDING)
    ]
)
NORM_CASES = _by_function(
    [
        _case("embedding", dtype, ("max_norm", "norm_type"), norm_type=kind)
        for dtype, kind in product(FLOATS, NORM_TYPES)
    ]
)
FREQUENCY_CASES = _by_function([_case("embedding", dtype, ("scale_grad_by_freq",), "gradients") for dtype in FLOATS])
SPARSE_CASES = _by_function([_case("embedding", dtype, ("sparse",), "gradients") for dtype in FLOATS])
PRETRAINED_CASES = [
    Case(
        {**case.params, "freeze": freeze},
        case.arrays,
        (*case.needs, "option:embedding from_pretrained"),
    )
    for case in (_case("embedding", dtype, ()) for dtype in FLOATS)
    for freeze in ("by default", "yes", "no")
]
"""Embeddings over a table that was trained."""
MADE_PADDING_CASES = [
    Case(
        {"layer": "embedding", "rows": rows, "padding_idx": row},
        {},
        ("layer:embedding", "construction", "option:embedding padding_idx"),
    )
    for rows, row in ((ROWS, 0), (ROWS, 3), (ROWS, ROWS - 1), (ROWS, -1), (ROWS, -ROWS), (1, 0), (2, 0), (2, -1))
]


def _on_every_shape(names: tuple[str, ...], **params: Any) -> list[Case]:
    """Lookups of small integers, of every rank and table, by an embedding with options."""
    return [
        Case({**case.params, **params}, case.arrays, (*case.needs, *(f"option:embedding {name}" for name in names)))
        for case in exact_gradients.LOOKUP_CASES
        if case.params["layer"] == "embedding" and case.params["id_dtype"] in ("int32", "int64")
    ]


SHAPED_CASES = _by_function(
    [
        *_on_every_shape(("padding_idx",), padding_idx=0),
        *_on_every_shape(("padding_idx",), padding_idx=-1),
        *_on_every_shape(("sparse",), sparse=True),
        *_on_every_shape(("padding_idx", "sparse"), padding_idx=-1, sparse=True),
    ]
)


def _computed() -> list[Case]:
    """Lookups, tied heads and products of small integers by layers that compute in another dtype than they store."""
    return [
        _computed_by("dtype", case, computed)
        for case in (*exact_gradients.LOOKUP_CASES, *exact_gradients.PRODUCT_CASES)
        for computed in FLOATS
        if computed != case.params["dtype"] and case.params["layer"] != "raw_lookup"
    ]


def _computed_by(option: str, case: Case, computed: str) -> Case:
    params = {**case.params, "computed": computed} | ({"by": option} if option != "dtype" else {})
    needs = (*case.needs, f"option:{case.params['layer']} {option}", f"dtype:{computed}")
    return Case(params, case.arrays, needs)


def _promoted() -> list[Case]:
    """The same by a function that promotes operands, or by the dtype that products are given out in."""
    return [
        _computed_by(option, case, computed)
        for case in (*exact_gradients.LOOKUP_CASES, *exact_gradients.PRODUCT_CASES)
        for option, layers, computed in (
            ("promote_dtype", ("embedding", "linear"), "float16"),
            ("preferred_element_type", ("linear",), "float32"),
        )
        if case.params["layer"] in layers and case.params["dtype"] == "bfloat16"
    ]


COMPUTED_EXACT_CASES = [*_computed(), *_promoted()]
COMPUTE_CASES = [
    _case(layer, stored, ("dtype",), computed=computed)
    for layer, stored, computed in product(("embedding", "linear"), FLOATS, FLOATS)
]
"""The dtype that a layer computes in, beside the one that it stores."""


def _wide() -> list[Case]:
    """Products of 16-bit operands in float32: integers that the operands' dtype holds and cannot hold the sums of."""
    ways = [("", "linear"), *((name, name) for name in ("matmul", "dot", "einsum", "dot_general"))]
    return [
        Case(
            {"layer": "linear", **({"spelling": spelling} if spelling else {}), "dtype": dtype},
            {
                "x": add(f"options/{dtype}/odd x", Recipe("integers", dtype, (3, 7), {"low": -255, "high": 256})),
                "weight": add(f"options/{dtype}/odd w", Recipe("integers", dtype, (5, 7), {"low": -255, "high": 256})),
            },
            (
                *("layer:linear", f"dtype:{dtype}", f"option:{option} preferred_element_type"),
                *((f"spelling:linear {spelling}",) * bool(spelling)),
            ),
        )
        for (spelling, option), dtype in product(ways, ("float16", "bfloat16"))
    ]


WIDE_CASES = _wide()
PRECISION_CASES = [
    Case(
        {"precision": precision},
        {
            "x": add("options/wide x", Recipe("wide integers", "float32", (2, 64), {"phase": 0})),
            "weight": add("options/wide weight", Recipe("wide integers", "float32", (4, 64), {"phase": 1})),
        },
        ("layer:linear", "dtype:float32", "option:linear precision"),
    )
    for precision in ("highest", "high", "default")
]
STORED_CASES = [
    Case(
        {"layer": layer, "param_dtype": dtype, "init": init},
        {},
        (f"layer:{layer}", "construction", f"option:{layer} param_dtype", f"option:{layer} init"),
    )
    for layer, dtype, init in product(("embedding", "linear"), FLOATS, ("ones", "zeros"))
]
