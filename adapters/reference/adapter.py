"""The NumPy reference adapter: the case's dtype with float32 accumulation; never counts as coverage.

It shares no code with the golden oracle, so that each can show a fault in the other. Ids are checked:
one outside ``[-num_embeddings, num_embeddings)`` raises IndexError, negative ids count from the end.
"""

from __future__ import annotations

from typing import ClassVar

from touchstone.adapters.interface import FLOATS, INTEGERS, LIBRARY_SCHEMES, MLX_SCHEMES, Adapter, Capabilities
from touchstone.adapters.reference.layers import LAYERS


class ReferenceAdapter(Adapter):
    name = "reference"
    distributions = ("numpy", "ml_dtypes")
    module = "numpy"
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    is_framework = False
    corrupts_memory = False
    layers = LAYERS
    capabilities = Capabilities(
        layers=frozenset(LAYERS),
        dtypes=FLOATS,
        id_dtypes=INTEGERS,
        layouts=frozenset({"offset", "step", "reverse", "permute", "broadcast"}),
        schemes=MLX_SCHEMES,
        construction=False,
        overwriting=True,
        absent={
            "scheme": LIBRARY_SCHEMES,
            "conversion": "the reference adapter makes quantized layers from weights or parts only",
            "compiler": "NumPy has no compiler",
            "freezing": "NumPy has no training that could leave an array alone",
            "model": "NumPy has no layers to build a model from, and golden/llama.py is the model in NumPy",
            "construction": "NumPy has no layer constructors of its own",
            "layer:tied_model": "NumPy has no modules to build a model from",
            "layer:stack": "NumPy has no modules to build a model from",
            "exercise": "the exercise is written for Flax",
            "spelling": "the reference adapter has layers, and no function beside them",
            "option": "NumPy has no layer constructors of its own",
        },
    )

    def __init__(self, device: str) -> None:
        self.device = device

    @classmethod
    def probe(cls) -> dict[str, str]:
        return {"cpu": "cpu"}

    def precision(self) -> dict[str, str]:
        return {"accumulation": "float32"}
