"""A Windows Update Agent after Microsoft's documentation, not after a machine: nobody here has one."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from tests.kits.windows.powershell.values import ComObject, Error, Thrown, Unknown, Value

if TYPE_CHECKING:
    from tests.kits.windows.machine import Windows

#: Operation result codes.
SUCCEEDED, WITH_ERRORS, FAILED = 2, 3, 4


def com_error(code: int) -> Thrown:
    """Return what a COM call throws."""
    return Thrown(
        Error("runtime.interopservices.comexception", f"Exception from HRESULT: {code:#x}", signed(code))
    )


def signed(code: int) -> int:
    """Return an HRESULT as .NET has it."""
    return code - 2**32 if code >= 2**31 else code


class Collection(ComObject):
    """A collection of COM's."""

    def __init__(self, items: Sequence[Value] = ()) -> None:
        self._items = list(items)

    @property
    def Count(self) -> int:  # noqa: N802 - as COM has it
        """How many there are."""
        return len(self._items)

    def Add(self, item: Value) -> int:  # noqa: N802
        """Add one."""
        self._items.append(item)
        return len(self._items) - 1

    def __iter__(self) -> Iterator[Value]:
        return iter(self._items)


class Fields(ComObject):
    """An object with these properties."""

    def __init__(self, **fields: Value) -> None:
        for name, value in fields.items():
            setattr(self, name, value)


@dataclasses.dataclass
class Update:
    """An update that the server has for this machine."""

    kb: str
    title: str
    driver: bool = False
    optional: bool = False
    upgrade: bool = False
    asks: bool = False
    exclusive: bool = False
    #: HRESULTs with which it cannot be downloaded, or installed; 0 where it can.
    download_code: int = 0
    install_code: int = 0
    #: What it finds busy, so often.
    busy_times: int = 0
    wants_reboot: bool = False
    #: The HRESULT with which the reboot takes it back; 0 where it stays.
    taken_back: int = 0
    is_downloaded: bool = False
    is_installed: bool = False
    has_agreed: bool = False
    #: What happens while it is installed.
    meanwhile: Callable[[], None] | None = None

    @property
    def identity(self) -> str:
        """Its identifier."""
        return f"id of {self.kb or self.title}"


class UpdateObject(ComObject):
    """An ``IUpdate``."""

    def __init__(self, update: Update) -> None:
        self._update = update
        category = (
            "3689bdc8-b205-4af4-8d4a-a63924c5e9d5"
            if update.upgrade
            else "0fa1201d-4330-4fa8-8ae9-b877473b6441"
        )
        self.Title = update.title
        self.Type = 2 if update.driver else 1
        self.BrowseOnly = update.optional
        self.MsrcSeverity = ""
        self.Identity = Fields(UpdateID=update.identity, RevisionNumber=1)
        self.KBArticleIDs = Collection([update.kb.removeprefix("KB")] if update.kb else [])
        self.Categories = Collection([Fields(CategoryID=category)])
        self.InstallationBehavior = Fields(
            CanRequestUserInput=update.asks, Impact=2 if update.exclusive else 0, RebootBehavior=2
        )

    @property
    def EulaAccepted(self) -> bool:  # noqa: N802
        """Whether its licence terms are agreed to."""
        return self._update.has_agreed

    @property
    def IsDownloaded(self) -> bool:  # noqa: N802
        """Whether it is here."""
        return self._update.is_downloaded

    def AcceptEula(self) -> None:  # noqa: N802
        """Agree to its licence terms."""
        self._update.has_agreed = True


class Session(ComObject):
    """``Microsoft.Update.Session``."""

    ClientApplicationID = ""

    def __init__(self, machine: Windows) -> None:
        self._machine = machine

    def CreateUpdateSearcher(self) -> Searcher:  # noqa: N802
        """Return a searcher."""
        return Searcher(self._machine)

    def CreateUpdateDownloader(self) -> Downloader:  # noqa: N802
        """Return a downloader."""
        return Downloader(self._machine)

    def CreateUpdateInstaller(self) -> Installer:  # noqa: N802
        """Return an installer."""
        return Installer(self._machine)


class Searcher(ComObject):
    """``IUpdateSearcher``."""

    Online = True

    def __init__(self, machine: Windows) -> None:
        self._machine = machine

    def Search(self, criteria: str) -> Fields:  # noqa: N802
        """Return what is not installed yet."""
        if criteria != "IsInstalled=0 and IsHidden=0":
            raise com_error(0x80240032)
        if self.Online and self._machine.search_code:
            raise com_error(self._machine.search_code)
        found = [UpdateObject(each) for each in self._machine.updates if not each.is_installed]
        warnings = [Fields(HResult=signed(code)) for code in self._machine.search_warnings]
        return Fields(
            ResultCode=WITH_ERRORS if warnings else SUCCEEDED,
            Updates=Collection(found),
            Warnings=Collection(warnings),
        )

    def GetTotalHistoryCount(self) -> int:  # noqa: N802
        """Return how many entries the history has."""
        return len(self._machine.history)

    def QueryHistory(self, start: int, count: int) -> Collection:  # noqa: N802
        """Return the newest entries first."""
        return Collection(self._machine.history[::-1][start : start + count])


class Work(ComObject):
    """What a downloader and an installer have in common."""

    ClientApplicationID = ""

    def __init__(self, machine: Windows) -> None:
        self._machine = machine
        self.Updates: Collection = Collection()

    def _one(self) -> Update:
        (found,) = self.Updates
        return found._update  # type: ignore[no-any-return]  # ours, beneath the object


class Downloader(Work):
    """``IUpdateDownloader``."""

    def Download(self) -> Results:  # noqa: N802
        """Download all."""
        update = self._one()
        if not update.has_agreed:
            raise com_error(0x80240023)
        update.is_downloaded = not update.download_code
        return Results(update.download_code, wants_reboot=False)


class Installer(Work):
    """``IUpdateInstaller2``."""

    ForceQuiet = False
    AllowSourcePrompts = True

    @property
    def IsBusy(self) -> bool:  # noqa: N802
        """Whether another installation is under way."""
        self._machine.busy_looks -= 1
        return self._machine.busy_looks >= 0

    @property
    def RebootRequiredBeforeInstallation(self) -> bool:  # noqa: N802
        """Whether Windows wants a reboot first."""
        return self._machine.must_reboot_first

    def Install(self) -> Results:  # noqa: N802
        """Install all."""
        update = self._one()
        if not self.ForceQuiet or self.AllowSourcePrompts:
            raise Unknown("an installation might ask somebody")
        if update.busy_times:
            update.busy_times -= 1
            raise com_error(0x80240016)
        if update.meanwhile is not None:
            update.meanwhile()
        self._machine.installed(update)
        return Results(update.install_code, wants_reboot=update.wants_reboot and not update.install_code)


class Results(ComObject):
    """``IInstallationResult``, and that of a download."""

    def __init__(self, code: int, *, wants_reboot: bool) -> None:
        self._code = code
        self.RebootRequired = wants_reboot

    def GetUpdateResult(self, at: int) -> Fields:  # noqa: N802
        """Return the result of one update."""
        good = 0x00240005 if self.RebootRequired else 0
        return Fields(
            ResultCode=FAILED if self._code else SUCCEEDED,
            HResult=signed(self._code) if self._code else good,
            RebootRequired=self.RebootRequired,
        )


def history_entry(update: Update, at: dt.datetime, code: int) -> Fields:
    """Return an ``IUpdateHistoryEntry``."""
    return Fields(
        UpdateIdentity=Fields(UpdateID=update.identity),
        Title=update.title,
        Date=at,
        Operation=1,
        ResultCode=FAILED if code else SUCCEEDED,
        HResult=signed(code),
    )
