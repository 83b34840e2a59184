"""How JAX spells the initializers of `touchstone.golden.operations`: a function of a key, a shape and a dtype.

`flax.nnx.initializers` are the same functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

OPTIONS: Mapping[str, tuple[str, ...]] = {
    "constant": ("value", "named"),
    "normal": ("std", "named"),
    "uniform": ("high", "named"),
    "glorot_normal": ("gain", "named"),
    "glorot_uniform": ("gain", "named"),
    "he_normal": ("gain", "mode", "named"),
    "he_uniform": ("gain", "mode", "named"),
}
"""Functions of `jax.nn.initializers`, and options by the names of the interface.

named: the dtype is named when the initializer is made, not when it is called.
"""
DECLARED = frozenset([*OPTIONS, *(f"{name} {option}" for name, found in OPTIONS.items() for option in found)])
"""`Capabilities.initializers`."""
_OTHERWISE = {"std": "stddev", "high": "scale"}
ABSENT: Mapping[str, str] = {
    "initializer:identity": "jax.nn.initializers has no identity: jnp.eye makes one",
    **{f"initializer:{name} generator": "jax.nn.initializers takes a key, and knows no generator" for name in OPTIONS},
    "initializer:normal mean": "jax.nn.initializers.normal has no mean: it draws around zero",
    "initializer:uniform low": "jax.nn.initializers.uniform has no lower end: it draws from zero on",
}


def _made(initializers: Any, name: str, options: Mapping[str, Any], dtype: Any = None) -> Any:
    """The initializer. One with a gain or a mode is the `variance_scaling` that its page says it is a case of."""
    if "gain" not in options and "mode" not in options:
        return getattr(initializers, name)(
            **{_OTHERWISE.get(option, option): v for option, v in options.items()}, dtype=dtype
        )
    distribution = "uniform" if name.endswith("uniform") else "truncated_normal"
    mode = "fan_avg" if name.startswith("glorot") else options.get("mode", "fan_in")
    return initializers.variance_scaling(options["gain"] ** 2, mode, distribution, dtype=dtype)


def stored(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape in which Flax stores a weight (out, in, *kernel): (*kernel, in, out)."""
    return (*shape[2:], shape[1], shape[0]) if len(shape) > 1 else tuple(shape)


def drawing(
    adapter: Any, name: str, dtype: str | None, options: Mapping[str, Any]
) -> Callable[[Any, Sequence[int]], Any]:
    """What gives weights (out, in, *kernel) of a key and a shape, of JAX's default dtype where none is given."""
    given = () if dtype is None else (adapter.dtypes[dtype],)
    given_to_maker = given if "named" in options else ()
    told = {option: value for option, value in options.items() if option != "named"}
    made = _made(adapter.jax.nn.initializers, name, told, *given_to_maker)
    given_to_call = () if given_to_maker else given

    def draw(key: Any, shape: Sequence[int]) -> Any:
        weight = made(key, stored(shape), *given_to_call)
        return adapter.jnp.moveaxis(weight, (-1, -2), (0, 1)) if len(shape) > 1 else weight

    return draw
