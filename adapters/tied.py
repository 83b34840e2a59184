"""Names of the parameters of the small tied model, by role, as each framework spells them."""

from __future__ import annotations

from collections.abc import Mapping


def roles(table: str = "weight", matrix: str = "weight", *, transposed: bool = False) -> Mapping[str, tuple[str, bool]]:
    """Role of the layer "tied_model" -> the parameter's dotted name, and whether it is transposed.

    table, matrix: what the framework calls the parameter of its embedding, and of its linear layer.

    >>> roles("embedding", "kernel", transposed=True)["proj"]
    ('proj.kernel', True)
    """
    found = {"embed": (f"embed.{table}", False)}
    for name in ("proj", "proj_out"):
        found |= {name: (f"{name}.{matrix}", transposed), f"{name}.bias": (f"{name}.bias", False)}
    return found
