"""Keras behind the interface: the int4 `keras.layers.Embedding`, group-wise or with one scale a row.

Group-wise (mode "keras"): (q - zero) * scale, q in [-8, 7] two to a byte, zero an int8, one scale a group
(keras.quantizers.abs_max_quantize_grouped_with_zero_point). One scale a row ("keras_rows", where the group is the
whole row): q / scale, symmetric (keras.quantizers.AbsMaxQuantizer). The backend is JAX unless KERAS_BACKEND is set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from touchstone.adapters.interface import FLOATS, Adapter, Capabilities, Layer, Packed, Scheme, Unsupported
from touchstone.adapters.libraries.elsewhere import ABSENT, OWN_SCHEMES

SCHEMES = [Scheme(4, group, "keras") for group in (32, 64, 128)]
SCHEMES += [Scheme(4, columns, "keras_rows") for columns in (128, 256)]


def quantized_embedding(adapter: KerasAdapter, weight: Any, scheme: Scheme | None = None) -> Layer:
    """Raises ValueError for a mode that Keras does not have, or one scale a row for a part of a row."""
    if isinstance(weight, Packed):
        raise Unsupported(OWN_SCHEMES)
    assert scheme is not None
    if str(scheme) not in adapter.capabilities.schemes:
        raise ValueError(f"Keras has no scheme {scheme}")
    rows, columns = weight.shape
    if scheme.mode == "keras_rows" and scheme.group_size != columns:
        raise ValueError(f"one scale a row needs a group of {columns}, not {scheme.group_size}")
    block = -1 if scheme.mode == "keras_rows" else scheme.group_size
    config = adapter.keras.quantizers.Int4QuantizationConfig(block_size=block)
    with adapter.keras.device("cpu:0"):
        layer = adapter.keras.layers.Embedding(rows, columns, dtype=weight.dtype.name)
        layer.build()
        layer.embeddings.assign(weight)
        layer.quantize("int4", config=config)
    return KerasLayer(adapter, layer)


LAYERS: Mapping[str, Callable[..., Layer]] = {"quantized_embedding": quantized_embedding}


class KerasAdapter(Adapter):
    name = "keras"
    distributions = ("keras", "jax", "torch")
    module = "keras"
    devices = ("cpu",)
    environment = {"KERAS_BACKEND": "jax"}
    corrupts_memory = False
    layers = LAYERS
    capabilities = Capabilities(
        layers=frozenset(LAYERS),
        dtypes=FLOATS,
        id_dtypes=frozenset({"int32", "int64"}),
        schemes=frozenset(map(str, SCHEMES)),
        gradients=False,
        optimizer=False,
        persistence=False,
        construction=False,
        absent={
            **ABSENT,
            "layer": "of Keras the int4 embedding is shown, by the name quantized_embedding",
            "layout": "Keras packs a dense copy of the weight",
            "compiler": "the numbers of a scheme are asked for, not a compiler",
            "id_dtype": "Keras casts other ids to int32 (keras.layers.Embedding)",
            "gradients": "the int4 embedding has no trainable parameter and takes no floating input",
            "optimizer": "the int4 embedding has no trainable parameter",
            "persistence": "Keras saves models, not the parts of one layer as arrays",
        },
    )

    def __init__(self, device: str) -> None:
        import keras

        self.keras, self.device = keras, device
        if device != "cpu":
            raise RuntimeError(f"keras is asked on the CPU only, not on {device}")

    @classmethod
    def probe(cls) -> dict[str, str]:
        import keras

        return {"cpu": f"{keras.backend.backend()} backend"}

    def precision(self) -> dict[str, str]:
        return {"backend": self.keras.backend.backend()}


class KerasLayer(Layer):
    roles: Mapping[str, tuple[str, bool]] = {}

    def __init__(self, adapter: KerasAdapter, layer: Any) -> None:
        self.adapter, self.native = adapter, layer

    def __call__(self, inputs: Any) -> np.ndarray:
        with self.adapter.keras.device("cpu:0"):
            return np.asarray(self.adapter.keras.ops.convert_to_numpy(self.native(inputs)))

    def parameters(self) -> dict[str, np.ndarray]:
        return {v.name: np.asarray(self.adapter.keras.ops.convert_to_numpy(v)) for v in self.native.variables}

    def trainable(self) -> frozenset[str]:
        return frozenset(v.name for v in self.native.trainable_variables)

    def set_parameters(self, values: Mapping[str, np.ndarray]) -> None:
        for variable in self.native.variables:
            if variable.name in values:
                variable.assign(values[variable.name])
