"""Fuzz by coverage, with atheris: a tool of whoever has installed it, and of no test."""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path


def fuzz(name: str, seconds: int) -> None:
    """Fuzz one target; never returns. Its seeds and corpus are read, and what breaks it is kept there."""
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["innkeeper"]):
        from tests.fuzz.targets import targets
    target = targets()[name]
    target.corpus.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        for number, data in enumerate(target.all_seeds()):
            (Path(folder) / str(number)).write_bytes(data)
        options = [f"-max_total_time={seconds}", "-timeout=10", "-max_len=65536", "-verbosity=0"]
        atheris.Setup([sys.argv[0], folder, *options, f"-artifact_prefix={target.corpus}/"], target.work)
        atheris.Fuzz()
