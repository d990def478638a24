"""Find the plug-in: a directory of registrations, of which only the first enabled one is used."""

import configparser
import importlib.util
import os
import stat
from typing import Optional

from innkeeper.agent.backends import BACKENDS
from innkeeper.agent.journal import Journal
from innkeeper.agent.places import Places
from innkeeper.agent.plugin import PluginError, TaskPlugin
from innkeeper.agent.updater import Updater

_BUILT_IN = "innkeeper."


def find_plugin(places: Places, journal: Journal) -> TaskPlugin:
    """Return the plug-in of this guest; raises ``PluginError`` where its registration is wrong.

    A registration is ``plugins.d/NAME.conf`` with the section ``[plugin]``, ``CLSID`` (a built-in one
    as ``innkeeper.apt``, or ``/path/to/file.py:Class``) and ``IsEnabled`` (0 or 1). Without any, it
    is the built-in one for the package manager that is there.
    """
    chosen = _first_enabled(places.plugins)
    if chosen is None:
        backend = next(name for name, kind in BACKENDS.items() if kind.is_present(places))
        return Updater(backend, places, journal)
    if chosen.startswith(_BUILT_IN):
        return _built_in(chosen, places, journal)
    return _load(chosen)


def _first_enabled(directory: str) -> Optional[str]:
    names = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
    for name in names:
        if name.endswith(".conf"):
            parser = configparser.ConfigParser(interpolation=None)
            try:
                parser.read(os.path.join(directory, name))
                if parser.getint("plugin", "IsEnabled") == 1:
                    return parser.get("plugin", "CLSID")
            except (configparser.Error, ValueError) as exc:
                raise PluginError(f"The registration {name} cannot be read: {exc}") from None
    return None


def _built_in(clsid: str, places: Places, journal: Journal) -> TaskPlugin:
    backend = clsid[len(_BUILT_IN) :]
    if backend not in BACKENDS:
        raise PluginError(f"There is no built-in plug-in {clsid}.")
    return Updater(backend, places, journal)


def _load(clsid: str) -> TaskPlugin:
    path, colon, name = clsid.rpartition(":")
    _expect_trusted(path)
    spec = importlib.util.spec_from_file_location("innkeeper_agent_plugin", path)
    if not colon or spec is None or spec.loader is None:
        raise PluginError(f"{clsid} is not a plug-in: write /path/to/file.py:Class.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        plugin = getattr(module, name)()
    except Exception as exc:  # Someone else's code, at the top of it.
        raise PluginError(f"{clsid} cannot be loaded: {exc!r}") from exc
    if not isinstance(plugin, TaskPlugin):
        raise PluginError(f"{clsid} is not a TaskPlugin.")
    return plugin


def _expect_trusted(path: str) -> None:
    """The agent runs as root: what it loads must be writable by nobody else."""
    try:
        status = os.stat(path)
    except OSError as exc:
        raise PluginError(f"The plug-in {path} cannot be read: {exc.strerror}.") from None
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PluginError(f"The plug-in {path} may be written by others than its owner.")
