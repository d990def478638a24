"""Run the demo: one night on three real machines."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from demo.cast import Cast
from demo.guest.image import GuestImage, ImageError, build_image, cached_image
from demo.machines import GUESTS, SetupError, how_they_run, set_up
from demo.night import Night, NightError
from demo.place import Place, demo_place, image_cache
from demo.proof import Finding
from demo.service import Service, StartError, end_leftovers
from innkeeper.errors import InnkeeperError
from innkeeper.machines.host_facts import Accelerator

_HOW = {Accelerator.KVM: "KVM", Accelerator.TCG: "Software emulation"}


def main() -> int:
    """Run the night; 0 only where all three machines ended as they should."""
    arguments = _arguments()
    console = Console(highlight=False)
    cast = Cast() if arguments.svg is not None else None
    place = demo_place()
    # Ended from outside, it tidies up as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with _only_one(place):
            well = _run(console, place, crash=arguments.crash, cast=cast)
    except KeyboardInterrupt:
        console.print("\nStopped. Machines and service are out.")
        return 130
    except (
        ImageError,
        SetupError,
        StartError,
        NightError,
        InnkeeperError,
        subprocess.SubprocessError,
    ) as error:
        console.print(f"\n[bold red]The demo could not go on.[/] {error}")
        return 1
    if cast is not None:
        cast.save(arguments.svg, "One night on three machines")
    return 0 if well else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--crash", action="store_true", help="kill -9 the service in the middle of the night")
    parser.add_argument("--svg", type=Path, help="save the night as a picture that moves")
    return parser.parse_args()


def _run(console: Console, place: Place, *, crash: bool, cast: Cast | None) -> bool:
    image = _guest_image(console)
    end_leftovers(place)
    place.clear()
    service = Service(place)
    try:
        with _step(console, "Whether guests run with KVM here"):
            acceleration = how_they_run(image)
        console.print(f"  {_HOW[acceleration.accelerator]}: {acceleration.reason}", markup=False)
        with _step(console, "Three machines: disks, definitions, hypervisor"):
            set_up(GUESTS, image, place, acceleration)
        return _night(console, place, service, crash=crash, cast=cast)
    finally:
        service.stop()
        end_leftovers(place)


def _night(console: Console, place: Place, service: Service, *, crash: bool, cast: Cast | None) -> bool:
    night = Night(console, place, service, crash=crash, cast=cast)
    with _step(console, "The service, and the machines' boot; old-1 goes to sleep (saved)"):
        night.boot()
    night.book()
    console.print("\n[bold]$ innkeeper tonight[/]")
    console.print(night.tonight(), markup=False)
    console.print()
    began = time.monotonic()
    night.follow()
    console.print(f"\nThe night took {_duration(time.monotonic() - began)}.")
    reports = night.report()
    console.print("\n[bold]Looked at by the demo itself[/]")
    findings = night.prove(reports)
    _print_findings(console, findings)
    well = all(finding.holds for finding in findings)
    _say_where(console, place, well=well)
    return well


def _guest_image(console: Console) -> GuestImage:
    cache = image_cache()
    if image := cached_image(cache):
        return image
    began = time.monotonic()
    with console.status("") as status:
        image = build_image(
            cache, lambda line: status.update(f"Guest image (once; about a minute): {line[:60]}")
        )
    console.print(f"Guest image, a Debian made of packages: {_duration(time.monotonic() - began)}")
    return image


def _print_findings(console: Console, findings: Sequence[Finding]) -> None:
    for finding in findings:
        console.print(f"  {'[green]✓[/]' if finding.holds else '[bold red]✗ not so:[/]'} {finding.text}")


def _say_where(console: Console, place: Place, *, well: bool) -> None:
    console.print(
        "\n[bold green]All three machines ended as they should.[/]" if well
        else "\n[bold red]Not all ended as it should.[/]"
    )  # fmt: skip
    console.print(
        f"Everything lies in {place.root}: disks and consoles under machines/, service.log, the state.\n"
        f"Look further:  {sys.executable} -m innkeeper.cli serve --config {place.settings} \\\n"
        f"                   --state-dir {place.state} --hypervisor '{place.uri}'\n"
        f"               (with INNKEEPER_SOCKET={place.socket}), then: innkeeper update list, "
        "innkeeper task list",
        soft_wrap=True,
    )


@contextlib.contextmanager
def _step(console: Console, text: str) -> Iterator[None]:
    began = time.monotonic()
    with console.status(text):
        yield
    console.print(f"{text}: {_duration(time.monotonic() - began)}")


@contextlib.contextmanager
def _only_one(place: Place) -> Iterator[None]:
    """Keep two demos of one user apart: the second would end the first one's machines."""
    descriptor = os.open(place.root.with_name(f"{place.root.name}.lock"), os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SetupError("Another demo of this user runs. Wait for it, or stop it with Ctrl-C.") from None
    try:
        yield
    finally:
        os.close(descriptor)


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {seconds % 60:.0f} s"


if __name__ == "__main__":
    sys.exit(main())
