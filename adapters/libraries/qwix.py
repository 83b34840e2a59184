"""qwix behind the interface: weight-only post-training quantization of `flax.nnx.Linear`.

A weight is q * scale, symmetric, with one scale per tile of the input axis and output channel (qwix.QArray);
the scale is max|w| / (2**(bits-1) - 0.5), so that the largest code's bucket is used whole. A tile as long as the
input axis is channelwise quantization.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from touchstone.adapters.interface import FLOATS, Capabilities, Layer, Packed, Scheme, Unsupported
from touchstone.adapters.jax.adapter import JaxAdapter
from touchstone.adapters.jax.layer import JaxLayer
from touchstone.adapters.jax.layers import linear
from touchstone.adapters.libraries.elsewhere import ABSENT, OWN_SCHEMES

SCHEMES = [Scheme(bits, tile, "qwix") for bits in (4, 8) for tile in (32, 64, 128, 256)]


def quantized_linear(
    adapter: QwixAdapter, weight: Any, bias: np.ndarray | None = None, scheme: Scheme | None = None
) -> Layer:
    """Raises ValueError for a scheme qwix does not have; qwix's own ValueError where the tile does not divide."""
    import qwix

    if isinstance(weight, Packed):
        raise Unsupported(OWN_SCHEMES)
    assert scheme is not None
    if str(scheme) not in adapter.capabilities.schemes:
        raise ValueError(f"qwix has no scheme {scheme}")
    layer = linear(adapter, weight, bias)
    element = {4: adapter.jnp.int4, 8: adapter.jnp.int8}[scheme.bits]
    rule = qwix.QuantizationRule(module_path=".*", weight_qtype=element, tile_size=scheme.group_size)
    example = adapter.place(np.zeros((1, weight.shape[1]), weight.dtype))
    return QwixLayer(adapter, qwix.quantize_model(layer.native, qwix.PtqProvider([rule]), example), layer.roles)


LAYERS: Mapping[str, Callable[..., Layer]] = {"quantized_linear": quantized_linear}


class QwixAdapter(JaxAdapter):
    name = "qwix"
    distributions = ("qwix", "flax", "jax", "jaxlib")
    module = "qwix"
    layers = LAYERS
    capabilities = Capabilities(
        layers=frozenset(LAYERS),
        dtypes=FLOATS,
        id_dtypes=frozenset(),
        schemes=frozenset(map(str, SCHEMES)),
        gradients=False,
        optimizer=False,
        persistence=False,
        construction=False,
        absent={
            **ABSENT,
            "layer:quantized_embedding": "qwix intercepts products, and leaves nnx.Embed's lookup as it is",
            "layer": "qwix quantizes nnx.Linear and has no layer of its own; target jax shows Flax's",
            "layout": "JAX arrays have no strides: every slice or transpose is a new dense array",
            "compiler": "target jax compiles; here the numbers of a scheme are asked for",
            "exercise": "target jax shows the exercise",
            "id_dtype": "qwix has no lookup",
            "gradients": "weight-only post-training quantization is for inference",
            "optimizer": "weight-only post-training quantization is for inference",
            "persistence": "qwix saves models through Flax's state, not the parts of one layer as arrays",
        },
    )


class QwixLayer(JaxLayer):
    def parameters(self) -> dict[str, np.ndarray]:
        """The kernel's codes ``[in, out]`` and scales ``[tiles, out]`` by qwix's names, and the bias."""
        array = self.native.kernel.array
        found = {"qvalue": self.adapter.fetch(array.qvalue), "scale": self.adapter.fetch(array.scale)}
        if self.native.bias is not None:
            found["bias"] = self.adapter.fetch(self.native.bias[...])
        return found

    def trainable(self) -> frozenset[str]:
        return frozenset()
