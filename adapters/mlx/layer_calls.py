"""How MLX's layers compute, as functions of their inputs and parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from touchstone.adapters import kept
from touchstone.adapters.calls import Composition, Spelling

Sizes = Callable[..., tuple[Any, ...]]


def _holding(module: Any, parameters: Mapping[str, Any]) -> Any:
    """The module with these arrays in the place of its own, by dotted names."""
    for name, value in parameters.items():
        *path, last = name.split(".")
        inner = module
        for part in path:
            inner = inner[int(part)] if part.isdigit() else getattr(inner, part)
        setattr(inner, last, value)
    return kept.called(module)


def _layer(name: str, sizes: Sizes, *parameters: str, takes: tuple[str, ...] = ()) -> Composition:
    """A layer of mlx.nn, made of sizes that its arrays have; the first array is its input, the others parameters.

    Where a bias is among its parameters and not among the arrays, it is made without.
    """

    def made(*arrays: Any, **options: Any) -> Any:
        from mlx import nn

        held = dict(zip(parameters, arrays[1:], strict=False))
        options |= {"bias": False} if "bias" in parameters and "bias" not in held and name in _WITH_BIAS else {}
        options |= {"affine": bool(held)} if name in _AFFINE else {}
        return _holding(getattr(nn, name)(*sizes(*arrays), **options), held)(arrays[0])

    return Composition(made, takes)


_WITH_BIAS = ("Linear", *(f"{kind}{n}d" for kind in ("Conv", "ConvTranspose") for n in (1, 2, 3)))
_AFFINE = ("InstanceNorm", "LayerNorm")


def _of_matrix(x: Any, weight: Any, *_: Any) -> tuple[Any, ...]:
    return weight.shape[-1], weight.shape[0]


def _of_table(ids: Any, weight: Any) -> tuple[Any, ...]:
    return weight.shape


def _of_kernel(x: Any, weight: Any, *_: Any) -> tuple[Any, ...]:
    """A kernel of one axis as a number, as layers of one axis take it."""
    kernel = tuple(weight.shape[1:-1])
    return x.shape[-1], weight.shape[0], kernel if len(kernel) > 1 else kernel[0]


def _of_features(x: Any, *_: Any) -> tuple[Any, ...]:
    return (x.shape[-1],)


def _nothing(*_: Any) -> tuple[Any, ...]:
    return ()


_PACKED = ("weight", "scales", "biases")


def _quantized(name: str, **fixed: Any) -> Composition:
    def made(x: Any, *parts: Any, bits: int = 4, group_size: int = 64) -> Any:
        from mlx import nn

        module = getattr(nn, name)(group_size, group_size, group_size=group_size, bits=bits, **fixed)
        return _holding(module, dict(zip(_PACKED, parts, strict=True)))(x)

    return Composition(made, ("bits", "group_size"))


def _tied_head(x: Any, weight: Any) -> Any:
    from mlx import nn

    return _holding(nn.Embedding(1, 1), {"weight": weight}).as_linear(x)


def _sequential(x: Any, *parts: Any) -> Any:
    from mlx import nn

    names = [f"layers.{at}.{part}" for at in (0, 2) for part in ("weight", "bias")]
    module = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1))
    return _holding(module, dict(zip(names, parts, strict=True)))(x)


def _gate(a: Any, b: Any) -> Any:
    from mlx import nn

    return nn.silu(a) * b


def _pool(name: str) -> Composition:
    def made(x: Any, kernel_size: Any = 2, **options: Any) -> Any:
        from mlx import nn

        return kept.called(getattr(nn, name)(kernel_size, **options))(x)

    return Composition(made, ("kernel_size", "stride", "padding"))


def _group_norm(*, pytorch_compatible: bool) -> Composition:
    def made(x: Any, *parts: Any, num_groups: int = 3, **options: Any) -> Any:
        from mlx import nn

        module = nn.GroupNorm(
            num_groups, x.shape[-1], affine=bool(parts), pytorch_compatible=pytorch_compatible, **options
        )
        return _holding(module, dict(zip(("weight", "bias"), parts, strict=False)))(x)

    return Composition(made, ("num_groups", "eps"))


_STATISTICS = ("weight", "bias", "running_mean", "running_var")


def _batch_norm(x: Any, *parts: Any, **options: Any) -> Any:
    """Not in training where the statistics are among the parts."""
    from mlx import nn

    module = nn.BatchNorm(x.shape[-1], **options).train(len(parts) == 2)
    return _holding(module, dict(zip(_STATISTICS, parts, strict=False)))(x)


def _running(name: str, **by_default: float) -> Composition:
    """What a statistic is after a call in training; by_default: its momentum where a case names none."""

    def made(x: Any, before: Any, **options: Any) -> Any:
        from mlx import nn

        module = _holding(nn.BatchNorm(x.shape[-1], **{**by_default, **options}), {name: before})
        module(x)
        return module[name]

    return Composition(made, ("momentum",))


def _recurrent(name: str, *parameters: str, result: int | None = None) -> Composition:
    def made(x: Any, *arrays: Any, pieces: int = 1) -> Any:
        from mlx import nn

        held, first = arrays[: len(parameters)], arrays[len(parameters) :]
        module = _holding(getattr(nn, name)(x.shape[-1], held[1].shape[-1]), dict(zip(parameters, held, strict=True)))
        return _in_pieces(module, x, first, pieces, result)

    return Composition(made, ("pieces",))


def _in_pieces(module: Any, x: Any, states: Any, pieces: int, result: int | None = None) -> Any:
    """Every state of so many pieces of the time, the last ones handed on; result: which, where there are two."""
    import mlx.core as mx

    made = []
    for piece in mx.split(x, pieces, -2):
        given = module(piece, *states)
        found = (given,) if result is None else given
        states = [one[..., -1, :] for one in found]
        made.append(found[result or 0])
    return mx.concatenate(made, -2)


def _gru_without_bhn(x: Any, Wx: Any, Wh: Any, b: Any, *states: Any, pieces: int = 1) -> Any:
    from mlx import nn

    module = _holding(nn.GRU(x.shape[-1], Wh.shape[-1]), {"Wx": Wx, "Wh": Wh, "b": b, "bhn": None})
    return _in_pieces(module, x, states, pieces)


def _attention(q: Any, k: Any, v: Any, mask: Any = None, scale: Any = None, causal: bool = False) -> Any:
    import mlx.core as mx

    scale = q.shape[-1] ** -0.5 if scale is None else scale
    return mx.fast.scaled_dot_product_attention(q, k, v, scale=scale, mask="causal" if causal else mask)


_PROJECTIONS = ("query_proj", "key_proj", "value_proj", "out_proj")


def _many_heads(*arrays: Any, num_heads: int = 2) -> Any:
    return _of_sizes(num_heads, arrays[:3], arrays[3:])


def _of_sizes(num_heads: int, inputs: Any, parts: Any, *, evaluation: bool = False, **sizes: int) -> Any:
    """Queries, keys and values by a layer of these sizes, of which its own arrays have to be as well.

    parts: four weights, and their biases, if any.
    """
    from mlx import nn

    held = {f"{name}.weight": value for name, value in zip(_PROJECTIONS, parts, strict=False)}
    held |= {f"{name}.bias": value for name, value in zip(_PROJECTIONS, parts[4:], strict=False)}
    module = nn.MultiHeadAttention(parts[0].shape[0], num_heads, bias=len(parts) > 4, **sizes)
    return kept.called(module.load_weights(list(held.items())).train(not evaluation))(*inputs)


def _heads_of_sizes(queries: Any, keys: Any, values: Any, *parts: Any) -> Any:
    wide = {"key_input_dims": keys.shape[-1], "value_input_dims": values.shape[-1]}
    return _of_sizes(2, (queries, keys, values), parts, **wide)


def _heads_of_every_size(queries: Any, keys: Any, values: Any, *parts: Any) -> Any:
    names = ("query_input_dims", "key_input_dims", "value_input_dims")
    wide = {name: one.shape[-1] for name, one in zip(names, (queries, keys, values), strict=True)}
    wide |= {"value_dims": parts[2].shape[0], "value_output_dims": parts[3].shape[0]}
    return _of_sizes(2, (queries, keys, values), parts, **wide)


def _heads_of_memory(queries: Any, memory: Any, *parts: Any) -> Any:
    """Values have the size of keys where none is named."""
    return _of_sizes(2, (queries, memory, memory), parts, key_input_dims=memory.shape[-1])


def _heads_of_itself(x: Any, *parts: Any, evaluation: bool = False) -> Any:
    return _of_sizes(2, (x, x, x), parts, evaluation=evaluation)


def _projections(arrays: Any, attention: str = "") -> dict[str, Any]:
    """Four weights by their names; attention: the path, with its dot, of the layer that holds them."""
    return {f"{attention}{name}.weight": value for name, value in zip(_PROJECTIONS, arrays, strict=True)}


def _with_norms(norms: int, arrays: Any) -> dict[str, Any]:
    places = [*(f"ln{n}" for n in range(1, norms + 1)), "linear1", "linear2"]
    names = [f"{place}.{part}" for place in places for part in ("weight", "bias")]
    return dict(zip(names, arrays, strict=True))


def _encoder_layer(x: Any, *parts: Any, evaluation: bool = False, **options: Any) -> Any:
    from mlx import nn

    module = nn.TransformerEncoderLayer(x.shape[-1], 2, parts[8].shape[0], **options)
    held = {**_projections(parts[:4], "attention."), **_with_norms(2, parts[4:])}
    return _holding(module.train(not evaluation), held)(x, None)


def _decoder_layer(x: Any, memory: Any, *parts: Any, **options: Any) -> Any:
    from mlx import nn

    module = nn.TransformerDecoderLayer(x.shape[-1], 2, parts[14].shape[0], **options)
    held = {**_projections(parts[:4], "self_attention."), **_projections(parts[4:8], "cross_attention.")}
    mask = nn.MultiHeadAttention.create_additive_causal_mask(x.shape[1], x.dtype)
    return _holding(module, {**held, **_with_norms(3, parts[8:])})(x, memory, mask, None)


def _rope(x: Any, offset: int = 0, dims: int = 8, **options: Any) -> Any:
    from mlx import nn

    return kept.called(nn.RoPE(dims, **options))(x, offset=offset)


def _alibi(scores: Any, offset: int = 0) -> Any:
    from mlx import nn

    return kept.called(nn.ALiBi())(scores, offset)


def _sines(x: Any, **options: Any) -> Any:
    from mlx import nn

    return kept.called(nn.SinusoidalPositionalEncoding(8, **options))(x)


def _upsampled(x: Any, scale_factor: Any = 2, **options: Any) -> Any:
    from mlx import nn

    return kept.called(nn.Upsample(scale_factor, **options))(x)


def _upsampled_by_cubics(x: Any, **options: Any) -> Any:
    return _upsampled(x, mode="cubic", **options)


def _dropout(name: str) -> Composition:
    def made(x: Any, p: float = 0.5, seed: int = 0, training: bool = True) -> Any:
        import mlx.core as mx
        from mlx import nn

        mx.random.seed(seed)
        return kept.called(getattr(nn, name)(p).train(training))(x)

    return Composition(made, ("p", "seed", "training"))


def _masked_heads(x: Any, mask: Any) -> Any:
    """Queries of zeros, and projections that change nothing: the mean of the rows that each query sees."""
    import mlx.core as mx

    one = mx.eye(x.shape[-1])
    return _of_sizes(1, (mx.zeros_like(x), x, x, mask), [one, one, one, one])


def _by_default(name: str, *sizes: int) -> Composition:
    """A layer as its constructor makes it, outside of training; without sizes it is made of its input's features."""

    def made(x: Any) -> Any:
        from mlx import nn

        return getattr(nn, name)(*(sizes or (x.shape[-1],))).eval()(x)

    return Composition(made)


def _encoder_by_default(x: Any) -> Any:
    from mlx import nn

    return nn.TransformerEncoderLayer(x.shape[-1], 2).eval()(x, None)


_ACTIVATIONS = (
    *("CELU", "ELU", "GELU", "GLU", "HardShrink", "HardTanh", "Hardswish", "LeakyReLU", "LogSigmoid", "LogSoftmax"),
    *("Mish", "ReLU", "ReLU2", "ReLU6", "SELU", "SiLU", "Sigmoid", "Softmax", "Softmin", "Softplus", "Softshrink"),
    *("Softsign", "Step", "Tanh"),
)
_STEPS = ("stride", "padding", "dilation")
LAYERS: Mapping[str, Spelling] = {
    "Embedding": _layer("Embedding", _of_table, "weight"),
    "tied head of Embedding": Composition(_tied_head),
    "Linear": _layer("Linear", _of_matrix, "weight", "bias"),
    "QuantizedEmbedding": _quantized("QuantizedEmbedding"),
    "QuantizedLinear": _quantized("QuantizedLinear", bias=False),
    "Sequential": Composition(_sequential),
    "SwiGLU": Composition(_gate),
    "Conv1d": _layer("Conv1d", _of_kernel, "weight", "bias", takes=(*_STEPS, "groups")),
    "Conv2d": _layer("Conv2d", _of_kernel, "weight", "bias", takes=(*_STEPS, "groups")),
    "Conv3d": _layer("Conv3d", _of_kernel, "weight", "bias", takes=_STEPS),
    "ConvTranspose1d": _layer("ConvTranspose1d", _of_kernel, "weight", "bias", takes=(*_STEPS, "output_padding")),
    "ConvTranspose2d": _layer("ConvTranspose2d", _of_kernel, "weight", "bias", takes=(*_STEPS, "output_padding")),
    "ConvTranspose3d": _layer("ConvTranspose3d", _of_kernel, "weight", "bias", takes=(*_STEPS, "output_padding")),
    **{f"{kind}{n}d": _pool(f"{kind}{n}d") for kind in ("MaxPool", "AvgPool") for n in (1, 2, 3)},
    "LayerNorm": _layer("LayerNorm", _of_features, "weight", "bias", takes=("eps",)),
    "RMSNorm": _layer("RMSNorm", _of_features, "weight", takes=("eps",)),
    "GroupNorm": _group_norm(pytorch_compatible=False),
    "GroupNorm of neighbours": _group_norm(pytorch_compatible=True),
    "InstanceNorm": _layer("InstanceNorm", _of_features, "weight", "bias", takes=("eps",)),
    "BatchNorm": Composition(_batch_norm, ("eps",)),
    "BatchNorm in training": Composition(_batch_norm, ("eps",)),
    "running mean of BatchNorm": _running("running_mean", momentum=0.1),
    "running variance of BatchNorm": _running("running_var", momentum=0.1),
    "running mean of BatchNorm by default": _running("running_mean"),
    "running variance of BatchNorm by default": _running("running_var"),
    "RNN": _recurrent("RNN", "Wxh", "Whh", "bias"),
    "LSTM": _recurrent("LSTM", "Wx", "Wh", "bias", result=0),
    "cells of LSTM": _recurrent("LSTM", "Wx", "Wh", "bias", result=1),
    "GRU": _recurrent("GRU", "Wx", "Wh", "b", "bhn"),
    "GRU without bhn": Composition(_gru_without_bhn, ("pieces",)),
    "scaled_dot_product_attention": Composition(_attention, ("causal", "scale")),
    "attention where a mask is true": Composition(_attention),
    "attention with a mask added": Composition(_attention),
    "MultiHeadAttention": Composition(_many_heads, ("num_heads",)),
    "MultiHeadAttention with biases": Composition(_many_heads),
    "MultiHeadAttention of sizes": Composition(_heads_of_sizes),
    "MultiHeadAttention of every size": Composition(_heads_of_every_size),
    "MultiHeadAttention of a memory": Composition(_heads_of_memory),
    "MultiHeadAttention of itself": Composition(_heads_of_itself, ("evaluation",)),
    "TransformerEncoderLayer": Composition(_encoder_layer, ("norm_first", "dropout", "evaluation")),
    "TransformerDecoderLayer": Composition(_decoder_layer, ("norm_first", "dropout")),
    "RoPE": Composition(_rope, ("offset", "base", "scale", "dims")),
    "RoPE of neighbours": Composition(lambda x, **options: _rope(x, traditional=True, **options), ("offset", "base")),
    "ALiBi": Composition(_alibi, ("offset",)),
    "SinusoidalPositionalEncoding": Composition(_sines, ("cos_first", "scale", "full_turns", "min_freq", "max_freq")),
    "Upsample": Composition(_upsampled, ("scale_factor", "mode", "align_corners", "antialias")),
    "Upsample by cubics": Composition(_upsampled_by_cubics, ("scale_factor", "align_corners")),
    **{name: _layer(name, _nothing) for name in _ACTIVATIONS},
    **{name: _dropout(name) for name in ("Dropout", "Dropout2d", "Dropout3d")},
    **{f"{name} without a batch": _dropout(name) for name in ("Dropout2d", "Dropout3d")},
    "Upsample by a fraction": Composition(_upsampled, ("scale_factor",)),
    "Upsample by cubics by default": Composition(_upsampled_by_cubics),
    "MultiHeadAttention where a mask is true": Composition(_masked_heads),
    **{f"{name} by default": _by_default(name) for name in ("LayerNorm", "RMSNorm", "InstanceNorm")},
    "GroupNorm by default": _by_default("GroupNorm", 2, 8),
    "Conv1d by default": _by_default("Conv1d", 8, 2, 3),
    "TransformerEncoderLayer by default": Composition(_encoder_by_default),
    "PReLU": _layer("PReLU", lambda x, alpha: alpha.shape, "weight"),
}
_SAME = "mlx.nn's layers pad by numbers alone"
ABSENT: Mapping[str, str] = {
    **dict.fromkeys(
        (
            *(f"operation:cumulative {name} of BatchNorm" for name in ("mean", "variance")),
            *(f"option:{name} cumulative" for name in ("BatchNorm", "BatchNorm in training")),
        ),
        "mlx.nn.BatchNorm has one momentum, and counts no batches",
    ),
    **dict.fromkeys(
        (
            *(f"operation:running {name} of InstanceNorm" for name in ("mean", "variance")),
            *("operation:InstanceNorm with statistics", "option:InstanceNorm tracked"),
        ),
        "mlx.nn.InstanceNorm keeps no statistics",
    ),
    **{f"option:{name} same": _SAME for name in ("Conv1d", "Conv2d", "Conv3d")},
    **{
        f"option:Conv{n}d {way}": "mlx.nn's convolutions pad by zeros, on both sides alike"
        for way in ("circular", "reflect", "replicate", "causal")
        for n in (1, 2, 3)
    },
    **{
        f"option:{kind}Pool{n}d {option}": reason
        for option, reason in {
            "padding_behind": "mlx.nn's layers of pooling pad both sides alike",
            "same": "mlx.nn's layers of pooling pad both sides alike",
            "ceil_mode": "mlx.nn's layers of pooling leave out a window that reaches beyond",
            "count_include_pad": "mlx.nn's layers of pooling count the padding",
        }.items()
        for kind in ("Max", "Avg")
        for n in (1, 2, 3)
    },
    "operation:running biased variance of BatchNorm": "mlx.nn.BatchNorm keeps the unbiased variance",
    **{
        f"option:{name} {option}": "mlx.nn's recurrent layers take no lengths"
        for name in ("RNN", "LSTM", "GRU", "GRU without bhn")
        for option in ("packed", "last")
    },
    **dict.fromkeys(
        (
            "operation:weights of MultiHeadAttention",
            *(f"option:MultiHeadAttention {option}" for option in ("need_weights", "by_head")),
        ),
        "mlx.nn.MultiHeadAttention gives no weights",
    ),
}
CONSTRUCTED = (
    *("Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d", "LayerNorm", "RMSNorm"),
    *("GroupNorm", "InstanceNorm", "BatchNorm", "RNN", "LSTM", "GRU", "MultiHeadAttention", "PReLU"),
    "TransformerEncoderLayer",
)
"""Layers that are made by their sizes alone."""
