"""Settings: the later source wins, and what will not do is named with its place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from innkeeper.errors import InvalidArgument
from innkeeper.server import settings
from innkeeper.updates.policy import RebootPolicy


def test_flags_win_over_the_environment_which_wins_over_the_file(tmp_path: Path) -> None:
    """Each source can say everything, and the nearer one decides."""
    file = tmp_path / "innkeeper.toml"
    file.write_text('state_dir = "/file"\nsocket = "/file.sock"\ndatabase = "postgresql://file/db"\n')
    environ = {"INNKEEPER_STATE_DIR": "/environment", "INNKEEPER_SOCKET": "/environment.sock"}
    settled = settings.load(file=file, environ=environ, flags={"state_dir": Path("/flag"), "socket": None})
    assert settled.state_dir == Path("/flag")
    assert settled.socket == Path("/environment.sock")
    assert settled.database == "postgresql://file/db"


def test_the_policy_is_read_from_its_table(tmp_path: Path) -> None:
    """Names and values are those of the policy; what is left out keeps its default."""
    file = tmp_path / "innkeeper.toml"
    file.write_text('[policy]\nslots = 9\nreboot = "never"\n')
    policy = settings.load(file=file, environ={}).policy
    assert (policy.slots, policy.reboot, policy.boots) == (9, RebootPolicy.NEVER, 2)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("slotss = 3", "slotss"),
        ("[policy]\nslots = 'many'", "policy.slots"),
        ("[policy]\nsl0ts = 3", "policy.sl0ts"),
        ("[policy.undo]\nundo_directory = 'relative/here'", "policy.undo.undo_directory"),
        ("[policy.memory]\nlongest_pause_seconds = -1", "policy.memory.longest_pause_seconds"),
        ("[policy]\nsoak_seconds = nan", "policy.soak_seconds"),
        ("[policy.undo_points]\n'' = 'memory'", "policy.undo_points"),
        ("[fake]\nmachines = 0", "fake.machines"),
        ("history_days = -1", "history_days"),
        ("this is not", "TOML"),
    ],
)
def test_a_setting_that_will_not_do_is_named_with_its_file(tmp_path: Path, text: str, named: str) -> None:
    """A misspelt setting is never passed over in silence."""
    file = tmp_path / "innkeeper.toml"
    file.write_text(text)
    with pytest.raises(InvalidArgument) as refused:
        settings.load(file=file, environ={})
    assert named in str(refused.value)
    assert str(file) in str(refused.value)


def test_a_misspelt_setting_is_answered_with_those_of_its_table(tmp_path: Path) -> None:
    """Those of the whole file would not help."""
    file = tmp_path / "innkeeper.toml"
    file.write_text("[policy.undo]\nundo_dir = '/undo'\n")
    with pytest.raises(InvalidArgument, match="is not known") as refused:
        settings.load(file=file, environ={})
    assert refused.value.advice.startswith("The settings of [policy.undo] are: ")
    assert "undo_directory" in refused.value.advice
    assert "socket" not in refused.value.advice


@pytest.mark.parametrize("name", ["a/b", "-a", "", "a" * 64])
def test_a_servers_name_that_will_not_do_is_told_with_the_characters_that_will(name: str) -> None:
    """Neither a pattern nor the list of all settings helps."""
    with pytest.raises(InvalidArgument, match=f"server_name” is not valid: “{name}”") as refused:
        settings.load(environ={}, flags={"server_name": name})
    assert "letters (a to z, A to Z), digits, dots, dashes and underscores" in refused.value.advice
    assert "socket" not in refused.value.advice


def test_a_settings_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """A path that was given is never guessed around."""
    with pytest.raises(InvalidArgument, match="cannot be read"):
        settings.load(file=tmp_path / "no.toml", environ={})


def test_a_socket_path_that_linux_cannot_take_is_refused_at_once(tmp_path: Path) -> None:
    """Bind's own message would not say which setting to change."""
    with pytest.raises(InvalidArgument, match="longer than"):
        settings.load(environ={"INNKEEPER_SOCKET": "/" + "x" * 120})


def test_simulated_servers_with_names_share_their_hosts_and_nothing_else() -> None:
    """On one computer, without a word about places: each has its own state and socket."""
    environ = {"INNKEEPER_STATE_DIR": "/nowhere/inn"}
    one, two = (
        settings.load(environ=environ, flags={"fake": {"hosts": 2}, "server_name": name})
        for name in ("one", "two")
    )
    assert one.fake is not None
    assert two.fake is not None
    assert one.fake.fleet == two.fake.fleet == Path("/nowhere/inn-fake/fleet")
    assert one.state_dir != two.state_dir
    assert one.socket == one.state_dir / "innkeeper.sock"
    own = settings.load(environ=environ, flags={"fake": {}, "server_name": "own", "state_dir": Path("/own")})
    assert own.fake is not None
    assert (own.state_dir, own.fake.fleet) == (Path("/own"), None)


@pytest.mark.skipif(os.getuid() != 0, reason="root's own defaults")
def test_root_serves_the_system(tmp_path: Path) -> None:
    """The places that a system service is expected at."""
    settled = settings.load(environ={})
    assert settled.state_dir == Path("/var/lib/innkeeper")
    assert settled.socket == Path("/run/innkeeper/innkeeper.sock")


def test_the_simulated_inn_stands_apart_from_the_real_one(tmp_path: Path) -> None:
    """Without a directory of its own choice, ``--fake`` keeps out of the service's state directory."""
    environ = {"INNKEEPER_STATE_DIR": str(tmp_path / "inn")}
    assert settings.load(environ=environ, flags={"fake": {}}).state_dir == tmp_path / "inn-fake"
    assert settings.load(environ=environ, flags={"fake": {}, "state_dir": tmp_path}).state_dir == tmp_path
    assert settings.load(environ=environ, flags={"fake": None}).state_dir == tmp_path / "inn"
