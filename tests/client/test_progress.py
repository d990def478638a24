"""A progress bar for a task, with one call."""

from __future__ import annotations

import io

from rich.console import Console

import innkeeper
from innkeeper.wire.states import TaskResult
from tests.serving import Service


def test_a_task_is_shown_to_its_end(service: Service) -> None:
    """Its description, and that it is done; the call tells how it ended."""
    page = io.StringIO()
    with service.connect() as inn:
        for command in (inn.machines["web-1"].save, inn.machines["web-1"].startup):
            task = command()
            console = Console(file=page, width=100, force_terminal=True)
            assert innkeeper.show(task, console=console) is TaskResult.SUCCESS
            assert task.description in page.getvalue()
    assert "done" in page.getvalue()
