"""The working folder and the command of the tests of ``cli``."""

from tests.cli.conftest import dife, workdir

__all__ = ["dife", "workdir"]
