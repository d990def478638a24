"""Settings of tasks: conditions, limits, policies."""

from __future__ import annotations

import dataclasses

from innkeeper.schedule.duration import Duration
from innkeeper.schedule.model.enumerations import Compatibility, InstancesPolicy
from innkeeper.schedule.xml import forms
from innkeeper.schedule.xml.deviation import Findings
from innkeeper.schedule.xml.element import Element, Nested, element
from innkeeper.schedule.xml.node import Node, local

_POLICIES = {
    "IgnoreNew": InstancesPolicy.IGNORE_NEW,
    "Parallel": InstancesPolicy.PARALLEL,
    "Queue": InstancesPolicy.QUEUE,
    "StopExisting": InstancesPolicy.STOP_EXISTING,
}
_RETRY = forms.duration("PT1M", "P31D")
_DAY = Duration("P1D")


@dataclasses.dataclass(kw_only=True, slots=True)
class IdleSettings(Element):
    """The task's relation to idleness (``IIdleSettings``)."""

    #: ``IdleDuration``; deprecated: kept, and not acted on.
    idle_duration: Duration | None = element("Duration", forms.duration("PT1M"), default=Duration("PT10M"))
    #: ``WaitTimeout``; deprecated: kept, and not acted on.
    wait_timeout: Duration | None = element("WaitTimeout", forms.duration("PT1M"), default=Duration("PT1H"))
    #: Stop the task when the computer is no longer idle (``StopOnIdleEnd``).
    stop_on_idle_end: bool = element("StopOnIdleEnd", forms.FLAG, default=True)
    #: Start it again when the computer is idle again (``RestartOnIdle``); only after ``stop_on_idle_end``.
    restart_on_idle: bool = element("RestartOnIdle", forms.FLAG, default=False)


@dataclasses.dataclass(kw_only=True, slots=True)
class NetworkSettings(Element):
    """Which network the task needs (``INetworkSettings``)."""

    #: For people (``Name``).
    name: str | None = element("Name", forms.text())
    #: The network's GUID (``Id``).
    id: str | None = element("Id", forms.GUID)


@dataclasses.dataclass(kw_only=True, slots=True)
class MaintenanceSettings(Element):
    """How the task takes part in automatic maintenance (``IMaintenanceSettings``)."""

    #: How often it is to run, at least a day (``Period``).
    period: Duration | None = element("Period", forms.duration("P1D"), required=True)
    #: After how long it may run outside the window, longer than ``period`` (``Deadline``).
    deadline: Duration | None = element("Deadline", forms.duration("P1D"))
    #: Run it alone (``Exclusive``).
    exclusive: bool = element("Exclusive", forms.FLAG, default=False)

    def check(self, node: Node, findings: Findings) -> None:
        deadline = local(node.children, "Deadline")
        if deadline is None or not self.period or not self.deadline:
            return
        if self.deadline.nominal <= self.period.nominal:
            findings.invalid(deadline, f"it is not longer than the Period, {self.period}")


@dataclasses.dataclass(kw_only=True, slots=True)
class TaskSettings(Element):
    """Conditions, limits and policies of a task (``ITaskSettings`` to ``ITaskSettings3``)."""

    #: What to do when it is to start while it runs (``MultipleInstances``).
    multiple_instances: InstancesPolicy = element(
        "MultipleInstancesPolicy",
        forms.choice(_POLICIES, InstancesPolicy),
        default=InstancesPolicy.IGNORE_NEW,
    )
    #: Not on batteries (``DisallowStartIfOnBatteries``). Windows' default, which surprises everyone;
    #: ``TaskDefinition.new`` turns it off.
    disallow_start_if_on_batteries: bool = element("DisallowStartIfOnBatteries", forms.FLAG, default=True)
    #: ``StopIfGoingOnBatteries``; as above.
    stop_if_going_on_batteries: bool = element("StopIfGoingOnBatteries", forms.FLAG, default=True)
    #: Kill what does not stop when asked (``AllowHardTerminate``).
    allow_hard_terminate: bool = element("AllowHardTerminate", forms.FLAG, default=True)
    #: Make up for a start that was missed (``StartWhenAvailable``).
    start_when_available: bool = element("StartWhenAvailable", forms.FLAG, default=False)
    #: ``RunOnlyIfNetworkAvailable``.
    run_only_if_network_available: bool = element("RunOnlyIfNetworkAvailable", forms.FLAG, default=False)
    #: Which network that is about (``NetworkSettings``).
    network_settings: NetworkSettings = element(
        "NetworkSettings", Nested(kind=NetworkSettings), factory=NetworkSettings
    )
    #: ``IdleSettings``.
    idle_settings: IdleSettings = element("IdleSettings", Nested(kind=IdleSettings), factory=IdleSettings)
    #: It may be started by hand (``AllowDemandStart``).
    allow_demand_start: bool = element("AllowStartOnDemand", forms.FLAG, default=True)
    #: ``Enabled``.
    enabled: bool = element("Enabled", forms.FLAG, default=True)
    #: Not shown unless asked for (``Hidden``).
    hidden: bool = element("Hidden", forms.FLAG, default=False)
    #: ``RunOnlyIfIdle``.
    run_only_if_idle: bool = element("RunOnlyIfIdle", forms.FLAG, default=False)
    #: ``DisallowStartOnRemoteAppSession``.
    disallow_start_on_remote_app_session: bool = element(
        "DisallowStartOnRemoteAppSession", forms.FLAG, default=False, since=3
    )
    #: ``UseUnifiedSchedulingEngine``; there is one engine here.
    use_unified_scheduling_engine: bool = element(
        "UseUnifiedSchedulingEngine", forms.FLAG, default=False, since=3
    )
    #: ``MaintenanceSettings``; ``None`` where it takes no part.
    maintenance_settings: MaintenanceSettings | None = element(
        "MaintenanceSettings", Nested(kind=MaintenanceSettings), since=4
    )
    #: Wake the computer for it (``WakeToRun``).
    wake_to_run: bool = element("WakeToRun", forms.FLAG, default=False)
    #: Stop it after this long; zero, or ``None``, is no limit (``ExecutionTimeLimit``).
    execution_time_limit: Duration = element(
        "ExecutionTimeLimit", forms.duration(), default=Duration("PT72H"), none=Duration("PT0S")
    )
    #: Forget the task this long after its last trigger ended; ``None`` is never, zero at once
    #: (``DeleteExpiredTaskAfter``).
    delete_expired_task_after: Duration | None = element("DeleteExpiredTaskAfter", forms.duration())
    #: 0 (highest) to 10 (``Priority``).
    priority: int = element("Priority", forms.integer(0, 10), default=7)
    #: How long to wait before the next try, a minute to 31 days (``RestartInterval``).
    restart_interval: Duration | None = element("Interval", _RETRY, inside="RestartOnFailure", required=True)
    #: How many tries, 1 to 255; 0 is none (``RestartCount``).
    restart_count: int = element(
        "Count", forms.integer(0, 255), default=0, inside="RestartOnFailure", required=True
    )
    #: Disabled at each start of the service (``Volatile``).
    volatile: bool = element("Volatile", forms.FLAG, default=False, since=4)
    #: ``Compatibility``: the definition's version.
    compatibility: Compatibility = Compatibility.V2

    def create_maintenance_settings(self) -> MaintenanceSettings:
        """Make the task take part in automatic maintenance (``CreateMaintenanceSettings``)."""
        self.maintenance_settings = MaintenanceSettings()
        return self.maintenance_settings

    def check(self, node: Node, findings: Findings) -> None:
        restart = local(node.children, "RestartOnFailure")
        count = None if restart is None else local(restart.children, "Count")
        if count is not None and not self.restart_count:
            findings.invalid(count, "it is not between 1 and 255")
        maintenance = local(node.children, "MaintenanceSettings")
        if maintenance is not None and not self.allow_demand_start:
            findings.invalid(maintenance, "it needs AllowStartOnDemand", value="", forgiven=True)
