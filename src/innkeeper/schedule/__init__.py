"""Task Scheduler 2.0: definitions, calendar, folders and instances."""

from innkeeper.schedule.model.definition import TaskDefinition

__all__ = ["TaskDefinition"]
