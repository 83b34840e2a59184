"""Lets every tox environment share one installation of the frameworks.

tox writes an environment's name into its folder and recreates the folder for any other name; the runner here writes
the same name for all of them, so that 1.7 GB are installed once. What is installed still follows deps and constraints.
"""

from __future__ import annotations

from unittest.mock import patch

from tox.plugin import impl
from tox.tox_env.python.virtual_env.runner import VirtualEnvRunner
from tox.tox_env.register import ToxEnvRegister


class SharedRunner(VirtualEnvRunner):
    """Calls every environment by one name where it is written down."""

    @staticmethod
    def id() -> str:
        return "shared"

    def _setup_env(self) -> None:
        with patch.object(type(self.conf), "name", "shared"):
            super()._setup_env()


@impl
def tox_register_tox_env(register: ToxEnvRegister) -> None:
    """Make `SharedRunner` known to tox by its id, which tox.ini names as ``runner``."""
    register.add_run_env(SharedRunner)
