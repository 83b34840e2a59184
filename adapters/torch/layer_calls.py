"""How PyTorch's layers compute, as functions of arrays in MLX's layouts: channels last, weights [out, *kernel, in]."""

from __future__ import annotations

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


def _convolution(dims: int) -> Composition:
    def made(x: Any, *parts: Any, same: bool = False, **options: Any) -> Any:
        from torch import nn

        weight = _stored("convolution", parts[0])
        kernel, groups = tuple(weight.shape[2:]), options.get("groups", 1)
        sizes = (weight.shape[1] * groups, weight.shape[0], kernel)
        given = {**options, **({"padding": "same"} if same else {})}
        module = getattr(nn, f"Conv{dims}d")(*sizes, bias=len(parts) == 2, device="meta", **given)
        return _channels_last(_applied(module, _named(_AFFINE, (weight, *parts[1:])), _channels_first(x)))

    return Composition(made, ("stride", "padding", "dilation", "groups", "same"))


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

    return Composition(made, ("kernel_size", "stride", "padding"))


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


def _instance_norm(x: Any, *parts: Any, eps: float = 1e-5) -> Any:
    module = _by_space("InstanceNorm", x)(x.shape[-1], eps, affine=bool(parts), device="meta")
    return _channels_last(_applied(module, _named(_AFFINE, parts), _channels_first(x)))


_STATISTICS = (*_AFFINE, "running_mean", "running_var")


def _with_statistics(kind: str) -> Composition:
    """In training where the statistics are not among the parts."""

    def made(x: Any, *parts: Any, eps: float = 1e-5) -> Any:
        in_training = len(parts) == 2
        options = {"affine": True, "track_running_stats": not in_training, "device": "meta"}
        module = _by_space(kind, x)(x.shape[-1], eps, **options)
        module.num_batches_tracked = None
        module.train(in_training)
        return _channels_last(_applied(module, _named(_STATISTICS, parts), _channels_first(x)))

    return Composition(made, ("eps",))


def _running(name: str, **by_default: float) -> Composition:
    """What a statistic is after a call in training; by_default: its momentum where a case names none."""

    def made(x: Any, before: Any, **options: Any) -> Any:
        module = _by_space("BatchNorm", x)(x.shape[-1], device=x.device, dtype=x.dtype, **{**by_default, **options})
        setattr(module, name, before.clone())
        module.train()
        module(_channels_first(x))
        return getattr(module, name)

    return Composition(made, ("momentum",))


def _recurrent(name: str, x: Any, held: Mapping[str, Any], *states: Any) -> Any:
    """Every hidden state; first states as [layers, batch, hidden]."""
    from torch import nn

    module = getattr(nn, name)(x.shape[-1], held["weight_hh_l0"].shape[-1], batch_first=True, device="meta")
    first = tuple(one[None].contiguous() for one in states)
    return _applied(module, held, x, first if name == "LSTM" else first[0])[0]


def _simple(name: str) -> Composition:
    """PyTorch has two biases, whose sum is MLX's one."""

    def made(x: Any, into: Any, inner: Any, bias: Any, *states: Any) -> Any:
        names = {"weight_ih_l0": into, "weight_hh_l0": inner, "bias_ih_l0": bias, "bias_hh_l0": bias * 0}
        return _recurrent(name, x, names, *states)

    return Composition(made)


def _gru(x: Any, into: Any, inner: Any, bias: Any, bhn: Any, hidden: Any) -> Any:
    """MLX's bhn is the last third of the second bias."""
    import torch

    second = torch.cat([bhn * 0, bhn * 0, bhn])
    names = {"weight_ih_l0": into, "weight_hh_l0": inner, "bias_ih_l0": bias, "bias_hh_l0": second}
    return _recurrent("GRU", x, names, hidden)


def _attention(q: Any, k: Any, v: Any, mask: Any = None, scale: Any = None, causal: bool = False) -> Any:
    from torch.nn import functional

    shares = {"enable_gqa": True} if q.shape[1] != k.shape[1] else {}
    return functional.scaled_dot_product_attention(q, k, v, mask, scale=scale, is_causal=causal, **shares)


def _held_attention(arrays: Any) -> dict[str, Any]:
    """MLX's four projections, and their biases, as PyTorch packs them."""
    import torch

    held = {"in_proj_weight": torch.cat(arrays[:3]), "out_proj.weight": arrays[3]}
    if len(arrays) > 4:
        held |= {"in_proj_bias": torch.cat(arrays[4:7]), "out_proj.bias": arrays[7]}
    return held


def _many_heads(*arrays: Any, num_heads: int = 2) -> Any:
    from torch import nn

    given = {"bias": len(arrays) > 7, "batch_first": True, "device": "meta"}
    module = nn.MultiheadAttention(arrays[0].shape[-1], num_heads, **given)
    return _applied(module, _held_attention(arrays[3:]), *arrays[:3], need_weights=False)[0]


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


def _encoder_layer(x: Any, *parts: Any, **options: Any) -> Any:
    from torch import nn

    given = {**_AS_MLX, **options, "batch_first": True, "device": "meta"}
    module = nn.TransformerEncoderLayer(x.shape[-1], 2, parts[8].shape[0], **given)
    return _applied(module, {**_within("self_attn", parts[:4]), **_with_norms(2, parts[4:])}, x)


def _decoder_layer(x: Any, memory: Any, *parts: Any, **options: Any) -> Any:
    from torch import nn

    given = {**_AS_MLX, **options, "batch_first": True, "device": "meta"}
    module = nn.TransformerDecoderLayer(x.shape[-1], 2, parts[14].shape[0], **given)
    held = {**_within("self_attn", parts[:4]), **_within("multihead_attn", parts[4:8]), **_with_norms(3, parts[8:])}
    mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], device=x.device, dtype=x.dtype)
    return _applied(module, held, x, memory, tgt_mask=mask)


def _dropout(name: str) -> Composition:
    """Channels are the last axis of x, and the second of PyTorch's."""

    def made(x: Any, p: float = 0.5, seed: int = 0, training: bool = True) -> Any:
        import torch
        from torch import nn

        module = getattr(nn, name)(p).train(training)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return _channels_last(_applied(module, {}, _channels_first(x)))

    return Composition(made, ("p", "seed", "training"))


def _masked_heads(x: Any, mask: Any) -> Any:
    """Queries of zeros, and projections that change nothing: the mean of the rows that each query sees."""
    import torch
    from torch import nn

    one = torch.eye(x.shape[-1], device=x.device)
    module = nn.MultiheadAttention(x.shape[-1], 1, bias=False, batch_first=True, device="meta")
    inputs = (torch.zeros_like(x), x, x)
    return _applied(module, _held_attention([one, one, one, one]), *inputs, need_weights=False, attn_mask=mask)[0]


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


def _upsampled(x: Any, scale_factor: Any = 2, mode: str = "nearest", **options: Any) -> Any:
    from torch import nn

    module = nn.Upsample(scale_factor=scale_factor, mode={"linear": "bilinear"}.get(mode, mode), **options)
    return _channels_last(_applied(module, {}, _channels_first(x)))


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
    "InstanceNorm": Composition(_instance_norm, ("eps",)),
    "InstanceNorm with running statistics": _with_statistics("InstanceNorm"),
    "BatchNorm": _with_statistics("BatchNorm"),
    "BatchNorm in training": _with_statistics("BatchNorm"),
    "running mean of BatchNorm": _running("running_mean", momentum=0.1),
    "running variance of BatchNorm": _running("running_var", momentum=0.1),
    "running mean of BatchNorm by default": _running("running_mean"),
    "running variance of BatchNorm by default": _running("running_var"),
    "RNN": _simple("RNN"),
    "LSTM": _simple("LSTM"),
    "GRU": Composition(_gru),
    "GRU without bhn": _simple("GRU"),
    "scaled_dot_product_attention": Composition(_attention, ("causal", "scale")),
    "attention where a mask is true": Composition(_attention),
    "attention with a mask added": Composition(_attention),
    "MultiHeadAttention": Composition(_many_heads, ("num_heads",)),
    "MultiHeadAttention with biases": Composition(_many_heads),
    "TransformerEncoderLayer": Composition(_encoder_layer, ("norm_first", "dropout")),
    "TransformerDecoderLayer": Composition(_decoder_layer, ("norm_first", "dropout")),
    "RoPE of neighbours": Composition(_rope, ("offset", "base")),
    "Upsample": Composition(_upsampled, ("scale_factor", "mode", "align_corners")),
    "Dropout": _dropout("Dropout"),
    "Dropout2d": _dropout("Dropout2d"),
    "Dropout3d": _dropout("Dropout3d"),
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
