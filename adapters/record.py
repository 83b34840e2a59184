"""``touchstone golden record``: what a target makes of the golden tables, kept apart from generated arrays.

The only place where adapters and golden data meet outside the suites; no adapter imports it.
"""

from __future__ import annotations

import platform

from touchstone.adapters.discovery import registry
from touchstone.adapters.interface import Scheme
from touchstone.golden.cases import quantized
from touchstone.golden.packing import format_of
from touchstone.golden.store import RECORDED, open_golden
from touchstone.golden.writer import compose, write


def record(spec: str) -> str:
    """Quantize every golden table on the target and write the parts to ``golden/recorded/NAME-VERSION-DEVICE``."""
    target = registry.resolve([spec])[0]
    store = open_golden()
    arrays, made = {}, {}
    for case in quantized.ORDINARY_CASES:
        dtype, *sizes = (case.params[k] for k in ("dtype", "mode", "bits", "group_size"))
        form = format_of(*sizes)
        scheme = Scheme(form.bits, form.group_size, form.mode)
        layer = target.adapter.layer("quantized_embedding", store[case.arrays["table"]], scheme=scheme)
        for part, value in layer.parameters().items():
            key = quantized.recorded(form, dtype, part)
            arrays[key] = value
            made[key] = f"recording: {target.id} quantized {case.arrays['table']}"
    folder = RECORDED / f"{target.cls.name}-{target.version}-{target.device}"
    facts = {"target": target.id, "versions": target.versions, "machine": platform.machine()}
    files = compose(arrays, made, facts)
    write(files, folder, folder / "manifest.json")
    return f"recorded {len(arrays)} parts of {target.id} in {folder}"
