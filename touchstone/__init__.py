"""Touchstone: holds MLX, JAX with Flax NNX, and PyTorch to stored golden arrays, and checks converted checkpoints.

What is true lies in `touchstone.golden`, how each framework answers in `touchstone.adapters`, what is asked in
`touchstone.suites`, what is shown in `touchstone.reports`, and what is said of checkpoints in `touchstone.migration`.
"""

from pathlib import Path

__version__ = "0.2.0"

_CHECKOUT = Path(__file__).parent.parent
if (_CHECKOUT / "conftest.py").is_file() and (_CHECKOUT / "pyproject.toml").is_file():
    # The folders of a checkout lie beside this one; installed, they lie in it.
    __path__.append(str(_CHECKOUT))
