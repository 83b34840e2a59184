"""The target of a checkpoint check: two files are held against each other, and no framework is asked."""

from __future__ import annotations

from touchstone.adapters.discovery.registry import Target, versions
from touchstone.adapters.interface import Adapter, Capabilities
from touchstone.adapters.libraries.elsewhere import ABSENT

NAME, DEVICE = "checkpoint", "files"


class CheckpointFiles(Adapter):
    """Has no layer: what is asked of a checkpoint is answered from its files (`touchstone.migration.check`)."""

    name = NAME
    distributions = ("numpy", "ml_dtypes", "safetensors")
    module = "numpy"
    devices = (DEVICE,)
    capabilities = Capabilities(
        layers=frozenset(),
        dtypes=frozenset(),
        id_dtypes=frozenset(),
        absent={**ABSENT, "layer": "files hold tensors, and have no layer"},
    )

    def __init__(self, device: str) -> None:
        self.device = device

    @classmethod
    def probe(cls) -> dict[str, str]:
        return {DEVICE: "two checkpoints"}

    def precision(self) -> dict[str, str]:
        return {}


def target(facts: dict[str, str]) -> Target:
    """The target of one check. facts: what the source and the target are, in words."""
    found = versions(CheckpointFiles)
    return Target(NAME, CheckpointFiles, DEVICE, None, found, {"name": DEVICE, "precision": facts})
