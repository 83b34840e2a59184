"""How Flax's layers compute, as functions of inputs and parameters in MLX's layouts: weights are [out, *kernel, in]."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial, reduce
from typing import Any

from touchstone.adapters import kept
from touchstone.adapters.axes import permutation
from touchstone.adapters.calls import Composition, Spelling


def _holding(make: Callable[[Any, Any], Any], parameters: Mapping[str, Any]) -> Any:
    """A module of flax.nnx whose own arrays are never drawn, with these in their place, by dotted names."""
    from flax import nnx

    module = nnx.eval_shape(lambda: make(nnx, nnx.Rngs(0)))
    return kept.called(_put(module, parameters))


def _put(module: Any, parameters: Mapping[str, Any]) -> Any:
    """The module with these arrays in the place of its own, by dotted names."""
    from flax import nnx

    for name, value in parameters.items():
        path, _, last = name.rpartition(".")
        kind = type(_at(module, name))
        setattr(_at(module, path), last, (kind if issubclass(kind, nnx.Variable) else nnx.Param)(value))
    return module


def _at(module: Any, path: str) -> Any:
    """What a dotted name leads to: the module itself where it is empty."""

    def inside(outer: Any, part: str) -> Any:
        return outer[int(part)] if part.isdigit() else getattr(outer, part)

    return reduce(inside, filter(None, path.split(".")), module)


def _named(names: tuple[str, ...], parts: Any) -> dict[str, Any]:
    return dict(zip(names, parts, strict=False))


_AFFINE = ("scale", "bias")


def _kernel(weight: Any) -> Any:
    """In Flax's order of axes."""
    return weight.transpose(permutation("convolution", "mlx", "flax", weight.ndim))


def _embed(weight: Any) -> Any:
    def make(nnx: Any, rngs: Any) -> Any:
        return nnx.Embed(*weight.shape, param_dtype=weight.dtype, rngs=rngs)

    return _holding(make, {"embedding": weight})


def _embedding(ids: Any, weight: Any) -> Any:
    return _embed(weight)(ids)


def _tied_head(x: Any, weight: Any) -> Any:
    return _embed(weight).attend(x)


def _with_bias(kernel: Any, bias: Any) -> dict[str, Any]:
    return {"kernel": kernel} if bias is None else {"kernel": kernel, "bias": bias}


def _linear(x: Any, weight: Any, bias: Any = None) -> Any:
    out, inner = weight.shape
    held = _with_bias(weight.T, bias)
    return _holding(lambda nnx, rngs: nnx.Linear(inner, out, use_bias=bias is not None, rngs=rngs), held)(x)


def _sequential(x: Any, *parts: Any) -> Any:
    first, second = (parts[n].T for n in (0, 2))

    def make(nnx: Any, rngs: Any) -> Any:
        return nnx.Sequential(nnx.Linear(*first.shape, rngs=rngs), nnx.relu, nnx.Linear(*second.shape, rngs=rngs))

    held = {"layers.0.kernel": first, "layers.0.bias": parts[1], "layers.2.kernel": second, "layers.2.bias": parts[3]}
    return _holding(make, held)(x)


def _quantized(name: str) -> Composition:
    def made(x: Any, weight: Any, scales: Any, biases: Any, bits: int = 4, group_size: int = 64) -> Any:
        from touchstone.adapters.interface import Scheme
        from touchstone.adapters.jax import modules

        return kept.called(getattr(modules, name)(weight, scales, biases, Scheme(bits, group_size)))(x)

    return Composition(made, ("bits", "group_size"))


def _each(value: Any, dims: int) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,) * dims


def _convolved(name: str, x: Any, kernel: Any, bias: Any, **options: Any) -> Any:
    """By a layer of that name with ``kernel [*kernel, in, out]``."""
    *space, _, out = kernel.shape
    sizes, options = (x.shape[-1], out, tuple(space)), {**options, "use_bias": bias is not None}
    held = _with_bias(kernel, bias)
    return _holding(lambda nnx, rngs: getattr(nnx, name)(*sizes, rngs=rngs, **options), held)(x)


_EDGES = ("circular", "reflect")


def _convolution(dims: int) -> Composition:
    def made(
        x: Any,
        weight: Any,
        bias: Any = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        same: bool = False,
        **named: bool,
    ) -> Any:
        """named: a way of padding by its name."""
        way = next((name.upper() for name in named), "SAME" if same else None)
        return _convolved(
            "Conv",
            x,
            _kernel(weight),
            bias,
            strides=_each(stride, dims),
            padding=way or [(p, p) for p in _each(padding, dims)],
            kernel_dilation=_each(dilation, dims),
            feature_group_count=groups,
        )

    causal = ("causal",) if dims == 1 else ()
    return Composition(made, ("stride", "padding", "dilation", "groups", "same", *_EDGES, *causal))


def _transposed(dims: int) -> Composition:
    """Flax does not flip the kernel, and pads what the strides have spread out."""

    def made(
        x: Any,
        weight: Any,
        bias: Any = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        output_padding: Any = 0,
    ) -> Any:
        given = (_each(one, dims) for one in (dilation, padding, output_padding))
        sizes = zip(weight.shape[1:-1], *given, strict=True)
        return _convolved(
            "ConvTranspose",
            x,
            _kernel(weight)[(slice(None, None, -1),) * dims],
            bias,
            strides=_each(stride, dims),
            padding=[(d * (k - 1) - p, d * (k - 1) - p + q) for k, d, p, q in sizes],
            kernel_dilation=_each(dilation, dims),
        )

    return Composition(made, ("stride", "padding", "dilation", "output_padding"))


def _pool(name: str, dims: int) -> Composition:
    def made(
        x: Any,
        kernel_size: Any = 2,
        stride: Any = None,
        padding: Any = 0,
        padding_behind: Any = None,
        same: bool = False,
        **counts: bool,
    ) -> Any:
        from flax import nnx

        steps = _each(kernel_size if stride is None else stride, dims)
        behind = padding if padding_behind is None else padding_behind
        edges = "SAME" if same else list(zip(_each(padding, dims), _each(behind, dims), strict=True))
        return getattr(nnx, name)(x, _each(kernel_size, dims), strides=steps, padding=edges, **counts)

    counts = ("count_include_pad",) if name == "avg_pool" else ()
    return Composition(made, ("kernel_size", "stride", "padding", "padding_behind", "same", *counts))


def _layer_norm(x: Any, *parts: Any, eps: float = 1e-5) -> Any:
    return _holding(lambda nnx, rngs: nnx.LayerNorm(x.shape[-1], epsilon=eps, rngs=rngs), _named(_AFFINE, parts))(x)


def _rms_norm(x: Any, weight: Any, eps: float = 1e-5) -> Any:
    return _holding(lambda nnx, rngs: nnx.RMSNorm(x.shape[-1], epsilon=eps, rngs=rngs), {"scale": weight})(x)


def _group_norm(x: Any, *parts: Any, num_groups: int = 3, eps: float = 1e-5) -> Any:
    affine = {"use_scale": bool(parts), "use_bias": bool(parts)}
    return _holding(
        lambda nnx, rngs: nnx.GroupNorm(x.shape[-1], num_groups, epsilon=eps, rngs=rngs, **affine),
        _named(_AFFINE, parts),
    )(x)


def _instance_norm(x: Any, *parts: Any, eps: float = 1e-5) -> Any:
    affine = {"use_scale": bool(parts), "use_bias": bool(parts)}
    return _holding(
        lambda nnx, rngs: nnx.InstanceNorm(x.shape[-1], epsilon=eps, rngs=rngs, **affine), _named(_AFFINE, parts)
    )(x)


_STATISTICS = (*_AFFINE, "mean", "var")


def _batch_norm(x: Any, *parts: Any, eps: float = 1e-5) -> Any:
    """In training where the statistics are not among the parts."""
    given = _named(_STATISTICS, parts)
    if len(parts) == 2:
        given |= {"mean": parts[0] * 0, "var": parts[0] * 0}
    options = {"epsilon": eps, "use_running_average": len(parts) == 4}
    return _holding(lambda nnx, rngs: nnx.BatchNorm(x.shape[-1], rngs=rngs, **options), given)(x)


def _running(name: str, **by_default: float) -> Composition:
    """What a statistic is after a call in training; by_default: its momentum where a case names none.

    Flax's momentum is the share of what was before.
    """

    def made(x: Any, before: Any, **options: Any) -> Any:
        share = {option: 1 - value for option, value in {**by_default, **options}.items()}
        held = {"scale": before * 0, "bias": before * 0, "mean": before * 0, "var": before * 0, name: before}
        module = _holding(lambda nnx, rngs: nnx.BatchNorm(x.shape[-1], rngs=rngs, **share), held)
        module(x, use_running_average=False)
        return getattr(module, name)[...]

    return Composition(made, ("momentum",))


def _recurrent(cell: str, biased: str) -> Composition:
    """By a cell of that name; biased: which of its two products has MLX's one bias. First states as MLX has them.

    packed: the last array is the sequences' lengths, behind which Flax says nothing of the states.
    """

    def made(x: Any, into: Any, inner: Any, bias: Any, *states: Any, pieces: int = 1, **packed: bool) -> Any:
        import jax.numpy as jnp
        from flax import nnx

        held = {"dense_i.kernel": into.T, "dense_h.kernel": inner.T, f"{biased}.bias": bias}
        sizes = (x.shape[-1], inner.shape[-1])
        module = _holding(lambda nnx, rngs: getattr(nnx, cell)(*sizes, dtype=x.dtype, rngs=rngs), held)
        lengths, states = (states[-1], states[:-1]) if packed else (None, states)
        carry: Any = states[::-1] if len(states) > 1 else states[0] if states else None
        if lengths is not None:
            carry, found = nnx.RNN(module)(x, initial_carry=carry, seq_lengths=lengths, return_carry=True)
            inside = jnp.arange(x.shape[1])[None, :, None] < lengths[:, None, None]
            return _hidden(carry) if packed.get("last") else jnp.where(inside, found, 0)
        parts = []
        for piece in jnp.split(x, pieces, -2):
            carry, found = nnx.RNN(module)(piece, initial_carry=carry, return_carry=True)
            parts.append(found)
        return jnp.concatenate(parts, -2)

    return Composition(made, ("pieces", "packed", "last"))


def _hidden(carry: Any) -> Any:
    """The hidden state: of an LSTM behind its cell."""
    return carry[1] if isinstance(carry, tuple) else carry


def _attention(q: Any, k: Any, v: Any, mask: Any = None, scale: Any = None, causal: bool = False) -> Any:
    """jax.nn has heads behind the time."""
    import jax

    q, k, v = (one.swapaxes(1, 2) for one in (q, k, v))
    how = {} if mask is None else {"mask" if mask.dtype == bool else "bias": mask[None, None]}
    return jax.nn.dot_product_attention(q, k, v, scale=scale, is_causal=causal, **how).swapaxes(1, 2)


_PROJECTIONS = ("query", "key", "value")


def _heads(num_heads: int, parts: Any) -> Any:
    """A layer of four projections, and of their biases, if any. Flax splits the projections' axis into heads.

    Raises ValueError where the layer's own arrays are of other sizes.
    """
    from flax import nnx

    width = parts[0].shape[0]
    heads = (num_heads, width // num_heads)
    held = {f"{n}.kernel": w.T.reshape(-1, *heads) for n, w in zip(_PROJECTIONS, parts[:3], strict=True)}
    held["out.kernel"] = parts[3].T.reshape(*heads, -1)
    for name, bias in zip(_PROJECTIONS, parts[4:7], strict=False):
        held[f"{name}.bias"] = bias.reshape(heads)
    held |= {"out.bias": parts[7]} if len(parts) > 4 else {}
    given = {"use_bias": len(parts) > 4, "decode": False, "qkv_features": width, "in_kv_features": parts[1].shape[1]}
    module = nnx.eval_shape(lambda: nnx.MultiHeadAttention(num_heads, width, rngs=nnx.Rngs(0), **given))
    sizes = {name: _at(module, name).shape for name in held}
    if sizes != {name: value.shape for name, value in held.items()}:
        raise ValueError(f"made with other sizes: {sizes}")
    return kept.called(_put(module, held))


def _many_heads(*arrays: Any, num_heads: int = 2, need_weights: bool = False, by_head: bool = False) -> Any:
    """Flax keeps the weights of each head, if any."""
    return _heads(num_heads, arrays[3:])(*arrays[:3], sow_weights=need_weights)


def _heads_of_memory(queries: Any, memory: Any, *parts: Any) -> Any:
    """Values are the keys where none are given."""
    return _heads(2, parts)(queries, memory)


def _heads_of_itself(x: Any, *parts: Any, evaluation: bool = False) -> Any:
    """Keys are the queries where none are given."""
    return _heads(2, parts)(x, deterministic=evaluation)


def _weights(queries: Any, keys: Any, *parts: Any, num_heads: int = 2) -> Any:
    """Values' projections are those of keys, which the weights do not show."""
    query, key, *biases = parts
    module = _heads(num_heads, [query, key, key, key, *biases, *(biases[1:] * 2)])
    module(queries, keys, sow_weights=True)
    return module.attention_weights.get_value()[0]


def _dropout(axes: tuple[int, ...]) -> Composition:
    """axes: along which one number is dropped with all others."""

    def made(x: Any, p: float = 0.5, seed: int = 0, training: bool = True) -> Any:
        from flax import nnx

        module = nnx.Dropout(p, broadcast_dims=axes, deterministic=not training, rngs=nnx.Rngs(seed))
        return kept.called(module)(x)

    return Composition(made, ("p", "seed", "training"))


def _masked_heads(x: Any, mask: Any) -> Any:
    """Queries of zeros, and projections that change nothing: the mean of the rows that each query sees."""
    import jax.numpy as jnp

    width = x.shape[-1]
    one = jnp.eye(width)
    held = {f"{name}.kernel": one.reshape(width, 1, width) for name in _PROJECTIONS}
    held["out.kernel"] = one.reshape(1, width, width)
    module = _holding(lambda nnx, rngs: nnx.MultiHeadAttention(1, width, use_bias=False, decode=False, rngs=rngs), held)
    return module(jnp.zeros_like(x), x, x, mask=mask)


def _by_default(name: str, *sizes: int, **options: Any) -> Composition:
    """A layer as its constructor makes it, outside of training; without sizes it is made of its input's features."""

    def made(x: Any) -> Any:
        from flax import nnx

        return getattr(nnx, name)(*(sizes or (x.shape[-1],)), rngs=nnx.Rngs(0), **options)(x)

    return Composition(made)


def _rope(x: Any, base: float = 10000.0, offset: int = 0) -> Any:
    from touchstone.adapters.jax.llama import RoPE

    return kept.called(RoPE(x.shape[-1], base))(x, offset)


def _upsampled(
    x: Any, scale_factor: Any = 2, mode: str = "nearest", align_corners: bool = False, antialias: bool = False
) -> Any:
    """JAX's functions take the size itself, in the place of a factor; corners are aligned as its page says."""
    import jax
    import numpy as np

    space = x.shape[1:-1]
    sizes = [int(n * scale) for n, scale in zip(space, _each(scale_factor, len(space)), strict=True)]
    shape = (x.shape[0], *sizes, x.shape[-1])
    if not align_corners:
        return jax.image.resize(x, shape, mode, antialias=antialias)
    given = [(size - 1) / max(n - 1, 1) or 1.0 for n, size in zip(space, sizes, strict=True)]
    scale = np.array(given, np.float32)
    axes = tuple(range(1, x.ndim - 1))
    return jax.image.scale_and_translate(x, shape, axes, scale, 0.5 * (1 - scale), mode, antialias=antialias)


def _upsampled_by_cubics(x: Any, **options: Any) -> Any:
    """Of MLX's and PyTorch's coefficient."""
    return _upsampled(x, mode="cubic-pytorch", **options)


def _gate(a: Any, b: Any) -> Any:
    import jax

    return jax.nn.silu(a) * b


LAYERS: Mapping[str, Spelling] = {
    "Embedding": Composition(_embedding),
    "tied head of Embedding": Composition(_tied_head),
    "Linear": Composition(_linear),
    "QuantizedEmbedding": _quantized("QuantizedEmbed"),
    "QuantizedLinear": _quantized("QuantizedLinear"),
    "Sequential": Composition(_sequential),
    "SwiGLU": Composition(_gate),
    **{f"Conv{n}d": _convolution(n) for n in (1, 2, 3)},
    **{f"ConvTranspose{n}d": _transposed(n) for n in (1, 2, 3)},
    **{f"MaxPool{n}d": _pool("max_pool", n) for n in (1, 2, 3)},
    **{f"AvgPool{n}d": _pool("avg_pool", n) for n in (1, 2, 3)},
    "LayerNorm": Composition(_layer_norm, ("eps",)),
    "RMSNorm": Composition(_rms_norm, ("eps",)),
    "GroupNorm of neighbours": Composition(_group_norm, ("num_groups", "eps")),
    "InstanceNorm": Composition(_instance_norm, ("eps",)),
    "BatchNorm": Composition(_batch_norm, ("eps",)),
    "BatchNorm in training": Composition(_batch_norm, ("eps",)),
    "running mean of BatchNorm": _running("mean", momentum=0.1),
    "running biased variance of BatchNorm": _running("var", momentum=0.1),
    "running mean of BatchNorm by default": _running("mean"),
    "running variance of BatchNorm by default": _running("var"),
    "RNN": _recurrent("SimpleCell", "dense_i"),
    "LSTM": _recurrent("OptimizedLSTMCell", "dense_h"),
    "GRU without bhn": _recurrent("GRUCell", "dense_i"),
    "scaled_dot_product_attention": Composition(_attention, ("causal", "scale")),
    "attention where a mask is true": Composition(_attention),
    "attention with a mask added": Composition(_attention),
    "MultiHeadAttention": Composition(_many_heads, ("num_heads", "need_weights", "by_head")),
    "MultiHeadAttention with biases": Composition(_many_heads),
    "MultiHeadAttention of a memory": Composition(_heads_of_memory),
    "MultiHeadAttention of itself": Composition(_heads_of_itself, ("evaluation",)),
    "weights of MultiHeadAttention": Composition(_weights, ("num_heads",)),
    "RoPE of neighbours": Composition(_rope, ("offset", "base")),
    "Upsample": Composition(_upsampled, ("scale_factor", "mode", "align_corners", "antialias")),
    "Upsample by cubics": Composition(_upsampled_by_cubics, ("scale_factor", "align_corners")),
    "Dropout": _dropout(()),
    "Dropout2d": _dropout((1, 2)),
    "Dropout3d": _dropout((1, 2, 3)),
    "Upsample by cubics by default": Composition(partial(_upsampled, mode="cubic")),
    "MultiHeadAttention where a mask is true": Composition(_masked_heads),
    **{f"{name} by default": _by_default(name) for name in ("LayerNorm", "RMSNorm", "InstanceNorm")},
    "GroupNorm by default": _by_default("GroupNorm", 8, 2),
    "Conv1d by default": _by_default("Conv", 8, 2, 3),
}
TOGETHER: Mapping[tuple[str, ...], str] = {
    **{
        (
            f"option:Conv{n}d {edge}",
            f"option:Conv{n}d padding",
        ): "flax.nnx.Conv pads by its own elements to the same size alone"
        for n in (1, 2, 3)
        for edge in _EDGES
    },
    **{
        (
            f"operation:{kind}Pool{n}d",
            f"module:{question} of a layer",
        ): "flax.nnx has functions of pooling, no modules of them"
        for kind in ("Max", "Avg")
        for n in (1, 2, 3)
        for question in ("modes", "parameters")
    },
    **{
        (f"operation:{name}", f"module:{question} of a layer"): "jax.image has functions, no modules of them"
        for name in ("Upsample", "Upsample by cubics")
        for question in ("modes", "parameters")
    },
}
_NO_LAYER = "flax.nnx has no such layer"
ABSENT: Mapping[str, str] = {
    **dict.fromkeys(
        (
            *(f"operation:cumulative {name} of BatchNorm" for name in ("mean", "variance")),
            *(f"option:{name} cumulative" for name in ("BatchNorm", "BatchNorm in training")),
        ),
        "flax.nnx.BatchNorm has one momentum, and counts no batches",
    ),
    **dict.fromkeys(
        (
            *(f"operation:running {name} of InstanceNorm" for name in ("mean", "variance")),
            *("operation:InstanceNorm with statistics", "option:InstanceNorm tracked"),
        ),
        "flax.nnx.InstanceNorm keeps no statistics",
    ),
    **dict.fromkeys(
        (
            *(f"operation:{name}" for name in ("ALiBi", "SinusoidalPositionalEncoding")),
            *(f"operation:Transformer{half}Layer" for half in ("Encoder", "Decoder")),
            "operation:TransformerEncoderLayer by default",
        ),
        _NO_LAYER,
    ),
    **dict.fromkeys(
        (
            f"operation:{name}"
            for name in (
                *("CELU", "ELU", "GELU", "GLU", "HardShrink", "HardTanh", "Hardswish", "LeakyReLU", "LogSigmoid"),
                *("LogSoftmax", "Mish", "ReLU", "ReLU2", "ReLU6", "SELU", "SiLU", "Sigmoid", "Softmax", "Softmin"),
                *("Softplus", "Softshrink", "Softsign", "Step", "Tanh"),
            )
        ),
        "flax.nnx has functions of activation, and no modules of them",
    ),
    "operation:PReLU": "flax.nnx.PReLU has one number, and not one by feature",
    "operation:GroupNorm": "flax.nnx.GroupNorm takes neighbouring channels as a group, not interleaved ones",
    "operation:cells of LSTM": "flax.nnx.RNN gives the last cell alone",
    "operation:GRU": "flax.nnx.GRUCell has no bias of the hidden state's part of the new gate",
    "operation:RoPE": "flax.nnx has no rotary layer; this adapter's Llama turns neighbours",
    "operation:running variance of BatchNorm": "flax.nnx.BatchNorm keeps the biased variance",
    **{f"option:Conv{n}d replicate": "flax.nnx.Conv pads by zeros, circularly or by reflection" for n in (1, 2, 3)},
    **{f"option:Conv{n}d causal": "flax.nnx.Conv is causal along one axis alone" for n in (2, 3)},
    **{
        f"option:{kind}Pool{n}d ceil_mode": "nnx.max_pool and nnx.avg_pool leave out a window that reaches beyond"
        for kind in ("Max", "Avg")
        for n in (1, 2, 3)
    },
    "operation:MultiHeadAttention of sizes": "flax.nnx.MultiHeadAttention has one size of keys and values",
    "operation:MultiHeadAttention of every size": "flax.nnx.MultiHeadAttention has one size of keys and values",
    "option:weights of MultiHeadAttention averaged": "flax.nnx.MultiHeadAttention keeps the weights of each head",
    "operation:Upsample by a fraction": "jax.image.resize takes the size in the place of a factor",
    **{f"operation:Dropout{n}d without a batch": "flax.nnx.Dropout is told the axes that share a draw" for n in (2, 3)},
}


def _of_space(dims: int, *sizes: int) -> tuple[Any, ...]:
    inner, out, kernel = sizes
    return inner, out, (kernel,) * dims


def _turned(*sizes: int) -> tuple[int, ...]:
    return sizes[::-1]


def _as_they_are(*sizes: int) -> tuple[int, ...]:
    return sizes


CONSTRUCTED: Mapping[str, tuple[str, Callable[..., tuple[Any, ...]]]] = {
    **{f"Conv{n}d": ("Conv", partial(_of_space, n)) for n in (1, 2, 3)},
    **{f"ConvTranspose{n}d": ("ConvTranspose", partial(_of_space, n)) for n in (1, 2, 3)},
    **{name: (name, _as_they_are) for name in ("LayerNorm", "RMSNorm", "InstanceNorm", "BatchNorm")},
    "GroupNorm": ("GroupNorm", _turned),
    "RNN": ("SimpleCell", _as_they_are),
    "LSTM": ("OptimizedLSTMCell", _as_they_are),
    "GRU": ("GRUCell", _as_they_are),
    "MultiHeadAttention": ("MultiHeadAttention", _turned),
    "PReLU": ("PReLU", lambda *sizes: ()),
}
"""Layer -> its class of flax.nnx, and MLX's sizes in that class's order."""
