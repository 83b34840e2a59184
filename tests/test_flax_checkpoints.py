"""Are Flax's kernels of convolutions and attention, statistics and training state paired with PyTorch's and MLX's?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.made_checkpoints import Arrays, red, verdicts, write
from touchstone.migration.check import Check

DIMS, HEADS, EACH = 12, 3, 4


def torch_model() -> Arrays:
    """A one- and a two-dimensional convolution, normalization with statistics, and attention of three heads."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    out: Arrays = {}
    for n in range(2):
        out |= {f"layers.{n}.conv.weight": normal(8, 3, 3, 3), f"layers.{n}.conv.bias": normal(8)}
        out |= {f"layers.{n}.wave.conv.weight": normal(8, 5, 7)}
        out |= {f"layers.{n}.norm.{leaf}": normal(8) for leaf in ("weight", "bias", "running_mean", "running_var")}
        out |= {f"layers.{n}.attn.{part}.weight": normal(DIMS, DIMS) for part in ("query", "key", "value", "out")}
        out |= {f"layers.{n}.attn.{part}.bias": normal(DIMS) for part in ("query", "key", "value", "out")}
    return out


LEAVES = {"running_mean": "mean", "running_var": "var"}


def flax_model(torch: Arrays) -> Arrays:
    """The same in nnx's names and layouts."""
    out: Arrays = {}
    for name, value in torch.items():
        path, _, leaf = name.rpartition(".")
        kind = path.rpartition(".")[2]
        new, made = LEAVES.get(leaf, leaf), value
        if kind == "norm" and leaf == "weight":
            new = "scale"
        elif leaf == "weight":
            new = "kernel"
            made = np.moveaxis(value, (0, 1), (-1, -2)) if "conv" in path else value.T
            if ".attn" in path:
                made = made.reshape(HEADS, EACH, DIMS) if kind == "out" else made.reshape(DIMS, HEADS, EACH)
        elif ".attn" in path and kind != "out":
            made = value.reshape(HEADS, EACH)
        out[f"{path}.{new}"] = np.ascontiguousarray(made)
    return out


def mlx_model(torch: Arrays) -> Arrays:
    return {n: np.ascontiguousarray(np.moveaxis(t, 1, -1)) if "conv.weight" in n else t for n, t in torch.items()}


SIDES = {"pt": torch_model(), "flax": flax_model(torch_model()), "mlx": mlx_model(torch_model())}


@pytest.mark.parametrize(
    ("before", "after"), [("pt", "flax"), ("flax", "pt"), ("mlx", "flax"), ("flax", "mlx"), ("pt", "mlx")]
)
def test_every_layout_goes_to_every_other(tmp_path: Path, before: str, after: str) -> None:
    source = write(tmp_path / "a", SIDES[before], framework=before)
    target = write(tmp_path / "b", SIDES[after], framework=after)
    assert red(verdicts(source, target)) == {}
    assert Check(source, target).inferred == 0


@pytest.mark.parametrize("everywhere", [False, True])
def test_a_kernel_whose_channels_were_exchanged(tmp_path: Path, everywhere: bool) -> None:
    """With three channels and taps of three by three no shape shows it."""
    source = write(tmp_path / "a", SIDES["pt"], framework="pt")
    wrong = dict(SIDES["flax"])
    names = [f"layers.{n}.conv.kernel" for n in range(2)]
    for name in names if everywhere else names[1:]:
        wrong[name] = np.ascontiguousarray(wrong[name].swapaxes(0, 2))
    found = red(verdicts(source, write(tmp_path / "b", wrong, framework="flax")))
    assert set(found.values()) == {"axes in another order"}
    assert len(found) == (2 if everywhere else 1)


def test_training_state_needs_no_partner(tmp_path: Path) -> None:
    state = {
        "opt_state.0.mu.layers.0.conv.kernel": np.ones(3, np.float32),
        "step": np.asarray(7, np.int32),
        "drop.rngs.default.key": np.ones(2, np.uint32),
        "drop.rngs.default.count": np.asarray(1, np.uint32),
    }
    source = write(tmp_path / "a", SIDES["pt"], framework="pt")
    target = write(tmp_path / "b", SIDES["flax"] | state, framework="flax")
    check = Check(source, target)
    assert red(verdicts(source, target)) == {}
    assert check.dropped == len(state)
