"""Tiny models as hubs hold them, and what mlx-lm makes of them.

>>> make("mixtral", Path("/tmp/mixtral"))  # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # what is made here is looked for nowhere else

FORMS: Mapping[str, Mapping[str, Any]] = {
    "plain": {},
    "bfloat16": {"dtype": "bfloat16"},
    "4 bits": {"quantize": True, "q_bits": 4, "q_group_size": 32},
    "mixed": {"quantize": True, "quant_predicate": "mixed_4_6"},
    "mxfp4": {"quantize": True, "q_mode": "mxfp4"},
    "nvfp4": {"quantize": True, "q_mode": "nvfp4"},
}
"""How mlx-lm stores a model -> what `mlx_lm.convert` is given."""
WORDS = 256


@cache
def described() -> Mapping[str, Any]:
    """The configurations beside this file."""
    return tomllib.loads(Path(__file__).with_name("architectures.toml").read_text())


def architectures() -> list[str]:
    """The `model_type` of every model that is made."""
    return list(described()["models"])


def make(name: str, folder: Path) -> None:
    """A model with drawn weights, a tokenizer and a configuration, as a hub's folder. Takes a second."""
    import torch
    from tokenizers import Tokenizer, models
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedTokenizerFast

    generator = torch.Generator().manual_seed(0)
    kind: Any = AutoModelForImageTextToText if "vision_config" in described()["models"][name] else AutoModelForCausalLM
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

    own = described()["models"][name]
    found = own if "text_config" in own else {**described()["base"], **own}
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
    extra = described()["hub"].get(name, {})
    inner = config.get("text_config")
    if isinstance(inner, dict):
        config["text_config"] = _rotation_outside(inner) | extra.get("text_config", {})
    return _rotation_outside(config) | {key: value for key, value in extra.items() if key != "text_config"}


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
    """What mlx-lm makes of a hub's folder. Raises what it raises."""
    from mlx_lm import convert as mlx_lm

    with contextlib.redirect_stdout(io.StringIO()):
        mlx_lm(str(source), str(target), **FORMS[form])
