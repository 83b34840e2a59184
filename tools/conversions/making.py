"""Tiny models as hubs hold them, and what converters make of them.

>>> make("mixtral", Path("/tmp/mixtral"))  # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # what is made here is looked for nowhere else


@dataclass(frozen=True)
class Form:
    """How a model is stored. by: the package that converts it; given: what its function is given."""

    by: str
    given: Mapping[str, Any] = field(default_factory=dict)


_FOUR_BITS = {"quantize": True, "q_bits": 4, "q_group_size": 32}
FORMS: Mapping[str, Form] = {
    "plain": Form("mlx-lm"),
    "bfloat16": Form("mlx-lm", {"dtype": "bfloat16"}),
    "4 bits": Form("mlx-lm", _FOUR_BITS),
    "mixed": Form("mlx-lm", {"quantize": True, "quant_predicate": "mixed_4_6"}),
    "mxfp4": Form("mlx-lm", {"quantize": True, "q_mode": "mxfp4"}),
    "nvfp4": Form("mlx-lm", {"quantize": True, "q_mode": "nvfp4"}),
    "GGUF": Form("gguf"),
    "with images": Form("mlx-vlm"),
    "with images, 4 bits": Form("mlx-vlm", _FOUR_BITS),
    "embedding": Form("mlx-embeddings"),
    "embedding, 4 bits": Form("mlx-embeddings", _FOUR_BITS),
}
CONVERTERS = tuple(dict.fromkeys(form.by for form in FORMS.values()))
WORDS = 256


@cache
def described() -> Mapping[str, Any]:
    """The configurations beside this file."""
    return tomllib.loads(Path(__file__).with_name("architectures.toml").read_text())


def architectures() -> list[str]:
    """The `model_type` of every model that is made."""
    return list(described()["models"])


def forms_of(name: str, converters: Collection[str] = CONVERTERS) -> list[str]:
    """The forms in which some converters store a model of this architecture."""
    own = described()["models"][name]
    able = {
        "mlx-lm": "kind" not in own,
        "gguf": name in described()["gguf"]["models"],  # what mlx_lm.fuse --export-gguf takes
        "mlx-vlm": "vision_config" in own,
        "mlx-embeddings": own.get("kind") == "encoder",
    }
    return [form for form, how in FORMS.items() if how.by in converters and able[how.by]]


def make(name: str, folder: Path) -> None:
    """A model with drawn weights, a tokenizer and a configuration, as a hub's folder. Takes a second."""
    import torch
    from tokenizers import Tokenizer, models
    from transformers import AutoModel, AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedTokenizerFast

    generator = torch.Generator().manual_seed(0)
    own = described()["models"][name]
    kind: Any = AutoModelForImageTextToText if "vision_config" in own else AutoModelForCausalLM
    kind = AutoModel if own.get("kind") == "encoder" else kind
    model = kind.from_config(_config(name))
    with torch.no_grad():
        for p in model.parameters():
            drawn = torch.randn(p.shape, generator=generator)
            p.copy_(1 + 0.1 * drawn if p.ndim == 1 else 0.05 * drawn)
    model.save_pretrained(folder)
    words = Tokenizer(models.WordLevel({str(i): i for i in range(WORDS)}, unk_token="0"))
    special = {"bos_token": "1", "eos_token": "2", "pad_token": "0"}
    tokenizer: Any = PreTrainedTokenizerFast(tokenizer_object=words, **special)  # type: ignore[no-untyped-call]
    tokenizer.save_pretrained(folder)
    path = folder / "config.json"
    path.write_text(json.dumps(_as_hubs_do(name, json.loads(path.read_text())), indent=1))
    _rename(name, folder / "model.safetensors")


def _config(name: str) -> Any:
    """The configuration, without what its class refuses; a model of images has its sizes inside."""
    from transformers import AutoConfig

    own = {key: value for key, value in described()["models"][name].items() if key != "kind"}
    found = own if "text_config" in own else {**described()["base"], **own}
    name = name.replace("xlm_", "xlm-")
    while True:
        try:
            return AutoConfig.for_model(name, **found)
        except (AttributeError, TypeError, ValueError, KeyError) as error:
            refused = [key for key in found if key in described()["base"] and key in str(error)]
            if not refused:
                raise
            del found[refused[0]]


def _as_hubs_do(name: str, config: dict[str, Any]) -> dict[str, Any]:
    """transformers 5 nests what rotation needs, and mlx-lm looks for it outside."""
    inner = config.get("text_config")
    if isinstance(inner, dict):
        config["text_config"] = _rotation_outside(inner)
    return _merged(_rotation_outside(config), described()["hub"].get(name, {}))


def _merged(config: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """`config` with the fields of `more`, level by level."""
    inside = {
        key: _merged(config[key], value)
        for key, value in more.items()
        if isinstance(value, Mapping) and isinstance(config.get(key), Mapping)
    }
    return {**config, **more, **inside}


def _rotation_outside(config: dict[str, Any]) -> dict[str, Any]:
    nested = config.get("rope_parameters") or {}
    usual = {"rope_theta": 10000.0, "partial_rotary_factor": 1.0}
    found = {key: nested.get(key, value) for key, value in usual.items() if isinstance(nested.get(key, value), float)}
    return {**found, "rope_scaling": None, **config}


def _rename(name: str, path: Path) -> None:
    """GPT-2's files of hubs lack the outer module; gpt-oss's experts are stored in MXFP4 blocks."""
    if name == "gpt2":
        found = {key.removeprefix("transformer."): t for key, t in load_file(path).items()}
    elif name == "gpt_oss":
        found = {}
        for key, t in load_file(path).items():
            found |= _blocks(key, t) if key.endswith(("gate_up_proj", "down_proj")) else {key: t}
    else:
        return
    save_file(found, path, {"format": "pt"})


def _blocks(name: str, experts: np.ndarray) -> dict[str, np.ndarray]:
    """The experts ``[experts, inputs, outputs]`` in blocks of 32 inputs of an output."""
    import mlx.core as mx

    words, scales, *_ = mx.quantize(mx.array(np.ascontiguousarray(experts.swapaxes(1, 2))), mode="mxfp4")
    data = np.array(words).view(np.uint8)
    return {f"{name}_blocks": data.reshape(*data.shape[:-1], -1, 16), f"{name}_scales": np.array(scales)}


def convert(source: Path, target: Path, form: str) -> None:
    """What a converter makes of a hub's folder. Raises what it raises."""
    how = FORMS[form]
    with contextlib.redirect_stdout(io.StringIO()):
        _WAYS[how.by](source, target, **how.given)


def _mlx_lm(source: Path, target: Path, **given: Any) -> None:
    from mlx_lm import convert as by_mlx_lm

    by_mlx_lm(str(source), str(target), **given)


def _gguf(source: Path, target: Path) -> None:
    import mlx.core as mx
    from mlx_lm.gguf import convert_to_gguf

    target.mkdir()
    weights: Any = mx.load(str(source / "model.safetensors"))
    config = json.loads((source / "config.json").read_text())
    convert_to_gguf(str(source), weights, config, str(target / "model.gguf"))


def _mlx_vlm(source: Path, target: Path, **given: Any) -> None:
    """The processor of images, which a tiny model lacks, is what nothing is made of."""
    from unittest import mock

    from mlx_vlm import convert as by_mlx_vlm
    from mlx_vlm import utils
    from transformers import AutoProcessor

    processor = mock.Mock(spec=["save_pretrained"])
    with (
        mock.patch.object(AutoProcessor, "from_pretrained", return_value=processor),
        mock.patch.object(utils, "load_image_processor", return_value=None),
        mock.patch.object(utils, "load_processor", return_value=processor),
    ):
        by_mlx_vlm(str(source), mlx_path=str(target), **given)


def _mlx_embeddings(source: Path, target: Path, **given: Any) -> None:
    from mlx_embeddings import convert as by_mlx_embeddings

    by_mlx_embeddings(str(source), str(target), **given)


_WAYS: Mapping[str, Callable[..., None]] = {
    "mlx-lm": _mlx_lm,
    "gguf": _gguf,
    "mlx-vlm": _mlx_vlm,
    "mlx-embeddings": _mlx_embeddings,
}
