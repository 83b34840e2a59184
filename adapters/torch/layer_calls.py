"""How PyTorch's layers compute, as functions of arrays in MLX's layouts: channels last, weights [out, *kernel, in]."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from touchstone.adapters import kept
from touchstone.adapters.axes import permutation
from touchstone.adapters.calls import Composition, Spelling


def _applied(module: Any, parameters: Mapping[str, Any], *inputs: Any, **options: Any) -> Any:
    """What a module made on the meta device gives with these tensors in the place of its own."""
    from torch.func import functional_call

    if kept.is_asked():
        module.load_state_dict({n: v.detach() for n, v in parameters.items()}, strict=False, assign=True)
        return kept.called(module)(*inputs, **options)
    return functional_call(module, dict(parameters), inputs, options)


def _stored(array: str, x: Any) -> Any:
    """In PyTorch's order of axes."""
    return x.permute(permutation(array, "mlx", "torch", x.ndim))


def _channels_first(x: Any) -> Any:
    return _stored("data", x)


def _channels_last(x: Any) -> Any:
    return x.permute(permutation("data", "torch", "mlx", x.ndim))


def _named(names: tuple[str, ...], parts: Any) -> dict[str, Any]:
    return dict(zip(names, parts, strict=False))


_AFFINE = ("weight", "bias")


def _embedding(ids: Any, weight: Any) -> Any:
    from torch import nn

    return _applied(nn.Embedding(*weight.shape, device="meta"), {"weight": weight}, ids)


def _linear(x: Any, *parts: Any) -> Any:
    from torch import nn

    out, inner = parts[0].shape
    return _applied(nn.Linear(inner, out, len(parts) == 2, device="meta"), _named(_AFFINE, parts), x)


def _sequential(x: Any, *parts: Any) -> Any:
    from torch import nn

    def linear(weight: Any) -> Any:
        return nn.Linear(weight.shape[1], weight.shape[0], device="meta")

    module = nn.Sequential(linear(parts[0]), nn.ReLU(), linear(parts[2]))
    return _applied(module, _named(("0.weight", "0.bias", "2.weight", "2.bias"), parts), x)


def _quantized(name: str) -> Composition:
    def made(x: Any, weight: Any, scales: Any, biases: Any, bits: int = 4, group_size: int = 64) -> Any:
        import torch

        from touchstone.adapters.interface import Scheme
        from touchstone.adapters.torch import quantized

        words = weight.view(torch.int32)
        return kept.called(getattr(quantized, name)(words, scales, biases, Scheme(bits, group_size)))(x)

    return Composition(made, ("bits", "group_size"))


_EDGES = ("circular", "reflect", "replicate")


def _convolution(dims: int) -> Composition:
    def made(x: Any, *parts: Any, same: bool = False, **options: Any) -> Any:
        from torch import nn

        weight = _stored("convolution", parts[0])
        kernel, groups = tuple(weight.shape[2:]), options.get("groups", 1)
        sizes = (weight.shape[1] * groups, weight.shape[0], kernel)
        given = {name: value for name, value in options.items() if name not in _EDGES}
        given |= {"padding": "same"} if same else {}
        given["padding_mode"] = next((edge for edge in _EDGES if edge in options), "zeros")
        module = getattr(nn, f"Conv{dims}d")(*sizes, bias=len(parts) == 2, device="meta", **given)
        return _channels_last(_applied(module, _named(_AFFINE, (weight, *parts[1:])), _channels_first(x)))

    return Composition(made, ("stride", "padding", "dilation", "groups", "same", *_EDGES))


def _transposed(dims: int) -> Composition:
    def made(x: Any, *parts: Any, **options: Any) -> Any:
        from torch import nn

        weight = _stored("transposed convolution", parts[0])
        sizes = (weight.shape[0], weight.shape[1], tuple(weight.shape[2:]))
        module = getattr(nn, f"ConvTranspose{dims}d")(*sizes, bias=len(parts) == 2, device="meta", **options)
        return _channels_last(_applied(module, _named(_AFFINE, (weight, *parts[1:])), _channels_first(x)))

    return Composition(made, ("stride", "padding", "dilation", "output_padding"))


def _pool(name: str) -> Composition:
    def made(x: Any, kernel_size: Any = 2, **options: Any) -> Any:
        from torch import nn

        return _channels_last(_applied(getattr(nn, name)(kernel_size, **options), {}, _channels_first(x)))

    counts = ("count_include_pad",) if name.startswith("Avg") else ()
    return Composition(made, ("kernel_size", "stride", "padding", "ceil_mode", *counts))


def _layer_norm(x: Any, *parts: Any, eps: float = 1e-5) -> Any:
    from torch import nn

    return _applied(nn.LayerNorm(x.shape[-1], eps, device="meta"), _named(_AFFINE, parts), x)


def _rms_norm(x: Any, weight: Any, eps: float = 1e-5) -> Any:
    from torch import nn

    return _applied(nn.RMSNorm(x.shape[-1], eps, device="meta"), {"weight": weight}, x)


def _group_norm(x: Any, *parts: Any, num_groups: int = 3, eps: float = 1e-5) -> Any:
    from torch import nn

    module = nn.GroupNorm(num_groups, x.shape[-1], eps, affine=bool(parts), device="meta")
    return _channels_last(_applied(module, _named(_AFFINE, parts), _channels_first(x)))


def _by_space(kind: str, x: Any) -> Any:
    """The class of that kind for an input of so many axes."""
    from torch import nn

    return getattr(nn, f"{kind}{max(x.ndim - 2, 1)}d")


def _instance_norm(x: Any, *parts: Any, eps: float = 1e-5, tracked: bool = False) -> Any:
    """In training; tracked: with running statistics, which begin as zeros and ones."""
    made = _by_space("InstanceNorm", x)
    given = {"affine": bool(parts), "track_running_stats": tracked, "device": x.device, "dtype": x.dtype}
    module = made(x.shape[-1], eps, **given)
    return _channels_last(_applied(module, _named(_AFFINE, parts), _channels_first(x)))


_STATISTICS = (*_AFFINE, "running_mean", "running_var")


def _with_statistics(kind: str) -> Composition:
    """In training where the statistics are not among the parts; cumulative: they are means of all batches."""

    def made(x: Any, *parts: Any, eps: float = 1e-5, cumulative: bool = False) -> Any:
        in_training = len(parts) == 2
        given: dict[str, Any] = {"affine": True, "track_running_stats": cumulative or not in_training}
        given |= {"momentum": None} if cumulative else {}
        module = _by_space(kind, x)(x.shape[-1], eps, device=x.device, dtype=x.dtype, **given)
        module.train(in_training)
        return _channels_last(_applied(module, _named(_STATISTICS, parts), _channels_first(x)))

    return Composition(made, ("eps", "cumulative") if kind == "BatchNorm" else ("eps",))


def _running(name: str, kind: str = "BatchNorm", **by_default: float) -> Composition:
    """What a statistic is after a call in training; by_default: its momentum where a case names none."""

    def made(x: Any, before: Any, **options: Any) -> Any:
        return _statistic(name, kind, [x], before, **{**by_default, **options})

    return Composition(made, ("momentum",))


def _cumulative(name: str) -> Composition:
    """What a statistic is after a call in training for each of ``x [batches, ...]``."""
    return Composition(lambda x, before: _statistic(name, "BatchNorm", list(x), before, momentum=None))


def _statistic(name: str, kind: str, batches: Any, before: Any, **options: Any) -> Any:
    x = batches[0]
    given = {"track_running_stats": True, "device": x.device, "dtype": x.dtype, **options}
    module = _by_space(kind, x)(x.shape[-1], **given).train()
    setattr(module, name, before.clone())
    for one in batches:
        module(_channels_first(one))
    return getattr(module, name)


def _recurrent(name: str, x: Any, held: Mapping[str, Any], *states: Any, pieces: int = 1, **packed: Any) -> Any:
    """Every hidden state, of so many pieces of the time with the states handed on; PyTorch has states by layer."""
    import torch
    from torch import nn

    module = getattr(nn, name)(x.shape[-1], held["weight_hh_l0"].shape[-1], batch_first=True, device="meta")
    first = tuple(one[None].contiguous() for one in states)
    carried = first if name == "LSTM" else first[0] if first else None
    given = [carried] if first else []
    if packed:
        return _packed(module, held, x, *given, **packed)
    made = []
    for piece in x.chunk(pieces, -2):
        states_of, carried = _applied(module, held, piece, *given)
        made.append(states_of)
        given = [carried]
    return torch.cat(made, -2)


def _packed(module: Any, held: Mapping[str, Any], x: Any, *first: Any, lengths: Any, last: bool = False) -> Any:
    """Every hidden state of sequences of these lengths, zeros behind; last: that of each one's last step alone."""
    from torch.nn.utils import rnn

    rows = rnn.pack_padded_sequence(x, lengths.cpu().long(), batch_first=True, enforce_sorted=False)
    states, carried = _applied(module, held, rows, *first)
    if last:
        return (carried[0] if isinstance(carried, tuple) else carried)[0]
    return rnn.pad_packed_sequence(states, batch_first=True, total_length=x.shape[1])[0]


_HANDED = ("pieces", "packed", "last")


def _lengths(states: Any, *, packed: bool = False, **options: Any) -> tuple[Any, dict[str, Any]]:
    """First states, and options: of packed sequences the last array is their lengths."""
    return (states[:-1], {**options, "lengths": states[-1]}) if packed else (states, options)


def _simple(name: str) -> Composition:
    """PyTorch has two biases, whose sum is MLX's one."""

    def made(x: Any, into: Any, inner: Any, bias: Any, *states: Any, **options: Any) -> Any:
        names = {"weight_ih_l0": into, "weight_hh_l0": inner, "bias_ih_l0": bias, "bias_hh_l0": bias * 0}
        first, given = _lengths(states, **options)
        return _recurrent(name, x, names, *first, **given)

    return Composition(made, _HANDED)


def _gru(x: Any, into: Any, inner: Any, bias: Any, bhn: Any, *states: Any, **options: Any) -> Any:
    """MLX's bhn is the last third of the second bias."""
    import torch

    second = torch.cat([bhn * 0, bhn * 0, bhn])
    names = {"weight_ih_l0": into, "weight_hh_l0": inner, "bias_ih_l0": bias, "bias_hh_l0": second}
    first, given = _lengths(states, **options)
    return _recurrent("GRU", x, names, *first, **given)


def _attention(q: Any, k: Any, v: Any, mask: Any = None, scale: Any = None, causal: bool = False) -> Any:
    from torch.nn import functional

    shares = {"enable_gqa": True} if q.shape[1] != k.shape[1] else {}
    return functional.scaled_dot_product_attention(q, k, v, mask, scale=scale, is_causal=causal, **shares)


def _held_attention(arrays: Any) -> dict[str, Any]:
    """MLX's four projections, and their biases, as PyTorch packs them where they are of one size."""
    import torch

    names = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
    alike = len({tuple(one.shape) for one in arrays[:3]}) == 1
    held = {"in_proj_weight": torch.cat(arrays[:3])} if alike else _named(names, arrays[:3])
    held["out_proj.weight"] = arrays[3]
    if len(arrays) > 4:
        held |= {"in_proj_bias": torch.cat(arrays[4:7]), "out_proj.bias": arrays[7]}
    return held


def _heads(num_heads: int, inputs: Any, parts: Any, *, evaluation: bool = False, **asked: Any) -> Any:
    """The result and the weights of queries, keys and values; parts: four weights, and their biases, if any.

    Raises ValueError where the layer's own arrays are of other sizes.
    """
    from torch import nn

    wide = {} if parts[1].shape == parts[0].shape else {"kdim": parts[1].shape[1], "vdim": parts[2].shape[1]}
    given = {"bias": len(parts) > 4, "batch_first": True, "device": "meta", **wide}
    module = nn.MultiheadAttention(parts[0].shape[0], num_heads, **given).train(not evaluation)
    held = _held_attention(parts)
    if sizes := {name: own.shape for name, own in module.named_parameters() if own.shape != held[name].shape}:
        raise ValueError(f"made with other sizes: {sizes}")
    return _applied(module, held, *inputs, **{"need_weights": False, **asked})


def _many_heads(*arrays: Any, num_heads: int = 2, need_weights: bool = False, by_head: bool = False) -> Any:
    asked = {"need_weights": need_weights, "average_attn_weights": not by_head}
    return _heads(num_heads, arrays[:3], arrays[3:], **asked)[0]


def _heads_of_memory(queries: Any, memory: Any, *parts: Any) -> Any:
    return _heads(2, (queries, memory, memory), parts)[0]


def _heads_of_itself(x: Any, *parts: Any, evaluation: bool = False) -> Any:
    return _heads(2, (x, x, x), parts, evaluation=evaluation)[0]


def _weights(queries: Any, keys: Any, *parts: Any, num_heads: int = 2, averaged: bool = False) -> Any:
    """Values are keys, and their projections those of keys, which the weights do not show."""
    query, key, *biases = parts
    held = [query, key, key, key, *biases, *(biases[1:] * 2)]
    return _heads(num_heads, (queries, keys, keys), held, need_weights=True, average_attn_weights=averaged)[1]


def _with_norms(norms: int, arrays: Any) -> dict[str, Any]:
    places = [*(f"norm{n}" for n in range(1, norms + 1)), "linear1", "linear2"]
    return _named(tuple(f"{place}.{part}" for place in places for part in _AFFINE), arrays)


def _within(attention: str, arrays: Any) -> dict[str, Any]:
    """Of an attention inside a layer, whose biases are zero, as MLX has none there."""
    held = {f"{attention}.{name}": value for name, value in _held_attention(arrays).items()}
    width = arrays[0].shape[0]
    biases = {"in_proj_bias": arrays[0].new_zeros(3 * width), "out_proj.bias": arrays[0].new_zeros(width)}
    return held | {f"{attention}.{name}": value for name, value in biases.items()}


_AS_MLX = {"dropout": 0.0, "norm_first": True}


def _encoder_layer(x: Any, *parts: Any, evaluation: bool = False, **options: Any) -> Any:
    from torch import nn

    given = {**_AS_MLX, **options, "batch_first": True, "device": "meta"}
    module = nn.TransformerEncoderLayer(x.shape[-1], 2, parts[8].shape[0], **given).train(not evaluation)
    return _applied(module, {**_within("self_attn", parts[:4]), **_with_norms(2, parts[4:])}, x)


def _decoder_layer(x: Any, memory: Any, *parts: Any, **options: Any) -> Any:
    from torch import nn

    given = {**_AS_MLX, **options, "batch_first": True, "device": "meta"}
    module = nn.TransformerDecoderLayer(x.shape[-1], 2, parts[14].shape[0], **given)
    held = {**_within("self_attn", parts[:4]), **_within("multihead_attn", parts[4:8]), **_with_norms(3, parts[8:])}
    mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], device=x.device, dtype=x.dtype)
    return _applied(module, held, x, memory, tgt_mask=mask)


_DRAWING = ("p", "seed", "training")


def _drawn(name: str, x: Any, p: float, seed: int, *, training: bool) -> Any:
    import torch
    from torch import nn

    module = getattr(nn, name)(p).train(training)
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "dropout2d: Received a 3D input")
        torch.manual_seed(seed)
        return _applied(module, {}, x)


def _dropout(name: str) -> Composition:
    """Channels are the last axis of x, and the second of PyTorch's."""

    def made(x: Any, p: float = 0.5, seed: int = 0, training: bool = True) -> Any:
        return _channels_last(_drawn(name, _channels_first(x), p, seed, training=training))

    return Composition(made, _DRAWING)


def _unbatched(name: str) -> Composition:
    """Of an array as it is, all of whose axes PyTorch names itself."""

    def made(x: Any, p: float = 0.5, seed: int = 0, training: bool = True) -> Any:
        return _drawn(name, x, p, seed, training=training)

    return Composition(made, _DRAWING)


def _masked_heads(x: Any, mask: Any) -> Any:
    """Queries of zeros, and projections that change nothing: the mean of the rows that each query sees."""
    import torch

    one = torch.eye(x.shape[-1], device=x.device)
    return _heads(1, (torch.zeros_like(x), x, x), [one, one, one, one], attn_mask=mask)[0]


def _by_default(name: str, *sizes: int, channels_first: bool = True) -> Composition:
    """A layer as its constructor makes it, outside of training; without sizes it is made of its input's features."""

    def made(x: Any) -> Any:
        from torch import nn

        module = getattr(nn, name)(*(sizes or (x.shape[-1],)), device=x.device).eval()
        return _channels_last(module(_channels_first(x))) if channels_first else module(x)

    return Composition(made)


def _encoder_by_default(x: Any) -> Any:
    from torch import nn

    return nn.TransformerEncoderLayer(x.shape[-1], 2, batch_first=True, device=x.device).eval()(x)


def _rope(x: Any, base: float = 10000.0, offset: int = 0) -> Any:
    from touchstone.adapters.torch.llama import RoPE

    return _applied(RoPE(x.shape[-1], base).to(x.device), {}, x, offset)


_MODES: Mapping[str, str | tuple[str, ...]] = {"linear": ("linear", "bilinear", "trilinear"), "cubic": "bicubic"}
"""PyTorch's names of modes: one for each number of axes, or one of all."""


def _upsampled(x: Any, scale_factor: Any = 2, mode: str = "nearest", **options: Any) -> Any:
    """By the layer, or the function where it smooths, which the layer does not."""
    from torch import nn

    name = _MODES.get(mode, mode)
    given = {"scale_factor": scale_factor, "mode": name if isinstance(name, str) else name[x.ndim - 3], **options}
    x = _channels_first(x)
    if "antialias" in options:
        return _channels_last(nn.functional.interpolate(x, **given))
    return _channels_last(_applied(nn.Upsample(**given), {}, x))


def _upsampled_by_cubics(x: Any, **options: Any) -> Any:
    return _upsampled(x, mode="cubic", **options)


def _gate(a: Any, b: Any) -> Any:
    from torch.nn import functional

    return functional.silu(a) * b


def _activation(name: str, **options: Any) -> Composition:
    def made(x: Any) -> Any:
        from torch import nn

        return _applied(getattr(nn, name)(**options), {}, x)

    return Composition(made)


def _prelu(x: Any, alpha: Any) -> Any:
    from torch import nn

    return _applied(nn.PReLU(alpha.shape[0], device="meta"), {"weight": alpha}, x)


_ACTIVATIONS = (
    *("CELU", "ELU", "GELU", "GLU", "Hardswish", "LeakyReLU", "LogSigmoid", "Mish", "ReLU", "ReLU6", "SELU", "SiLU"),
    *("Sigmoid", "Softplus", "Softshrink", "Softsign", "Tanh"),
)
LAYERS: Mapping[str, Spelling] = {
    "Embedding": Composition(_embedding),
    "tied head of Embedding": Composition(_linear),
    "Linear": Composition(_linear),
    "QuantizedEmbedding": _quantized("QuantizedEmbedding"),
    "QuantizedLinear": _quantized("QuantizedLinear"),
    "Sequential": Composition(_sequential),
    "SwiGLU": Composition(_gate),
    **{f"Conv{n}d": _convolution(n) for n in (1, 2, 3)},
    **{f"ConvTranspose{n}d": _transposed(n) for n in (1, 2, 3)},
    **{f"{kind}{n}d": _pool(f"{kind}{n}d") for kind in ("MaxPool", "AvgPool") for n in (1, 2, 3)},
    "LayerNorm": Composition(_layer_norm, ("eps",)),
    "RMSNorm": Composition(_rms_norm, ("eps",)),
    "GroupNorm of neighbours": Composition(_group_norm, ("num_groups", "eps")),
    "InstanceNorm": Composition(_instance_norm, ("eps", "tracked")),
    "InstanceNorm with statistics": _with_statistics("InstanceNorm"),
    "BatchNorm": _with_statistics("BatchNorm"),
    "BatchNorm in training": _with_statistics("BatchNorm"),
    "running mean of BatchNorm": _running("running_mean", momentum=0.1),
    "running variance of BatchNorm": _running("running_var", momentum=0.1),
    "cumulative mean of BatchNorm": _cumulative("running_mean"),
    "cumulative variance of BatchNorm": _cumulative("running_var"),
    "running mean of InstanceNorm": _running("running_mean", "InstanceNorm", momentum=0.1),
    "running variance of InstanceNorm": _running("running_var", "InstanceNorm", momentum=0.1),
    "running mean of BatchNorm by default": _running("running_mean"),
    "running variance of BatchNorm by default": _running("running_var"),
    "RNN": _simple("RNN"),
    "LSTM": _simple("LSTM"),
    "GRU": Composition(_gru, _HANDED),
    "GRU without bhn": _simple("GRU"),
    "scaled_dot_product_attention": Composition(_attention, ("causal", "scale")),
    "attention where a mask is true": Composition(_attention),
    "attention with a mask added": Composition(_attention),
    "MultiHeadAttention": Composition(_many_heads, ("num_heads", "need_weights", "by_head")),
    "MultiHeadAttention with biases": Composition(_many_heads),
    "MultiHeadAttention of sizes": Composition(_many_heads),
    "MultiHeadAttention of a memory": Composition(_heads_of_memory),
    "MultiHeadAttention of itself": Composition(_heads_of_itself, ("evaluation",)),
    "weights of MultiHeadAttention": Composition(_weights, ("num_heads", "averaged")),
    "TransformerEncoderLayer": Composition(_encoder_layer, ("norm_first", "dropout", "evaluation")),
    "TransformerDecoderLayer": Composition(_decoder_layer, ("norm_first", "dropout")),
    "RoPE of neighbours": Composition(_rope, ("offset", "base")),
    "Upsample": Composition(_upsampled, ("scale_factor", "mode", "align_corners", "antialias")),
    "Upsample by cubics": Composition(_upsampled_by_cubics, ("scale_factor", "align_corners")),
    "Dropout": _dropout("Dropout"),
    "Dropout2d": _dropout("Dropout2d"),
    "Dropout3d": _dropout("Dropout3d"),
    **{f"{name} without a batch": _unbatched(name) for name in ("Dropout2d", "Dropout3d")},
    "Upsample by a fraction": Composition(_upsampled, ("scale_factor",)),
    "Upsample by cubics by default": Composition(_upsampled_by_cubics),
    "MultiHeadAttention where a mask is true": Composition(_masked_heads),
    "LayerNorm by default": _by_default("LayerNorm", channels_first=False),
    "RMSNorm by default": _by_default("RMSNorm", channels_first=False),
    "GroupNorm by default": _by_default("GroupNorm", 2, 8),
    "InstanceNorm by default": _by_default("InstanceNorm1d"),
    "Conv1d by default": _by_default("Conv1d", 8, 2, 3),
    "TransformerEncoderLayer by default": Composition(_encoder_by_default),
    **{name: _activation(name) for name in _ACTIVATIONS},
    **{name: _activation(name, dim=-1) for name in ("Softmax", "Softmin", "LogSoftmax")},
    "HardShrink": _activation("Hardshrink"),
    "HardTanh": _activation("Hardtanh"),
    "PReLU": Composition(_prelu),
}
ABSENT: Mapping[str, str] = {
    "operation:GroupNorm": "torch.nn.GroupNorm takes neighbouring channels as a group, not interleaved ones",
    "operation:cells of LSTM": "torch.nn.LSTM gives the last cell alone",
    "operation:RoPE": "torch.nn has no rotary layer; this adapter's Llama turns neighbours",
    "operation:ALiBi": "torch.nn has no such layer",
    "operation:SinusoidalPositionalEncoding": "torch.nn has no such layer",
    "operation:running biased variance of BatchNorm": "torch.nn.BatchNorm keeps the unbiased variance",
    **{f"option:Conv{n}d causal": "torch.nn.Conv pads both sides alike" for n in (1, 2, 3)},
    **{
        f"option:{kind}Pool{n}d {option}": "torch.nn's layers of pooling pad both sides alike"
        for kind in ("Max", "Avg")
        for option in ("padding_behind", "same")
        for n in (1, 2, 3)
    },
    "operation:MultiHeadAttention of every size": "torch.nn.MultiheadAttention has one size but for keys and values",
    "operation:ReLU2": "torch.nn has no such layer",
    "operation:Step": "torch.nn has no such layer",
}
TOGETHER: Mapping[tuple[str, ...], str] = {
    (
        f"option:Conv{n}d same",
        f"option:Conv{n}d stride",
    ): "torch.nn.Conv pads to the same size for a stride of one alone"
    for n in (1, 2, 3)
}
CONSTRUCTED: Mapping[str, str] = {
    **{f"{kind}{n}d": f"{kind}{n}d" for kind in ("Conv", "ConvTranspose") for n in (1, 2, 3)},
    **{name: name for name in ("LayerNorm", "RMSNorm", "GroupNorm", "RNN", "LSTM", "GRU", "PReLU")},
    "InstanceNorm": "InstanceNorm1d",
    "BatchNorm": "BatchNorm1d",
    "MultiHeadAttention": "MultiheadAttention",
    "TransformerEncoderLayer": "TransformerEncoderLayer",
}
"""Layer -> its class of torch.nn, which takes the sizes in the same order."""
