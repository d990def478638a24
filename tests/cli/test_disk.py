"""``innkeeper disk``: a disk's whole life from the terminal, with no service running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

from tests.disks.nbd.client import connected
from tests.serving import INNKEEPER, Ended, run_command


def disk(*words: str | Path) -> Ended:
    """Run a disk command."""
    return run_command([*INNKEEPER, "disk", *map(str, words)])


def test_a_disk_lives_from_create_to_merge(tmp_path: Path) -> None:
    """Create, look, check, compact, resize, convert and merge, each ending well."""
    base, child = tmp_path / "base.vhd", tmp_path / "child.vhd"
    for words in (
        ("create", base, "--size", "20M"),
        ("resize", base, "40M"),
        ("create", child, "--parent", base),
        ("check", child, "--deep"),
        ("compact", child),
        ("merge-to", child, tmp_path / "flat.vhd", "--to", "fixed"),
        ("convert", base, tmp_path / "base.qcow2", "--to", "qcow2"),
        ("convert", tmp_path / "base.qcow2", tmp_path / "back.raw", "--to", "raw"),
        ("reparent", child, base),
        ("merge", child),
        ("repair", base),
    ):
        ended = disk(*words)
        assert ended.code == 0, (words, ended)
    assert not child.exists()
    assert (tmp_path / "flat.vhd").stat().st_size == (40 << 20) + 512
    assert (tmp_path / "back.raw").stat().st_size == 40 << 20


def test_facts_are_shown_and_have_documented_keys(tmp_path: Path) -> None:
    """What a person reads, a script finds under the documented names."""
    disk("create", tmp_path / "p.vhd", "--size", "20M")
    disk("create", tmp_path / "c.vhd", "--parent", tmp_path / "p.vhd")
    shown = disk("info", tmp_path / "c.vhd")
    assert "differencing" in shown.out
    assert "20.0 MiB" in shown.out
    facts = json.loads(disk("info", tmp_path / "c.vhd", "--json").out)
    assert set(facts) == {
        "file", "kind", "size_in_guest", "size_on_host", "allocated_on_host", "host_free_disk_space",
        "unique_id", "created_at", "creator", "block_bytes", "blocks_present", "parent", "warnings",
    }  # fmt: skip
    assert facts["parent"] == str(tmp_path / "p.vhd")
    assert facts["size_in_guest"] == 20 << 20


def test_a_chain_is_a_tree_with_its_root_on_top(tmp_path: Path) -> None:
    """Each disk stands under its parent, and a missing parent is told."""
    disk("create", tmp_path / "p.vhd", "--size", "20M")
    disk("create", tmp_path / "c.vhd", "--parent", tmp_path / "p.vhd")
    lines = disk("chain", tmp_path / "c.vhd").out.splitlines()
    assert lines[0].startswith("p.vhd")
    assert "└── c.vhd" in lines[1]
    (tmp_path / "p.vhd").unlink()
    assert "its parent is not found" in " ".join(disk("chain", tmp_path / "c.vhd").out.split())


def test_errors_are_sentences_with_exit_codes(tmp_path: Path) -> None:
    """What goes wrong is said with its documented identifier, and no traceback."""
    (tmp_path / "x.vhd").write_text("no disk")
    for words, code, text in (
        (("info", tmp_path / "x.vhd"), 1, "VM_E_INVALID_HD_FILE"),
        (("info", tmp_path / "none.vhd"), 3, "ERROR_FILE_NOT_FOUND"),
        (("create", tmp_path / "y.vhd"), 2, "E_INVALIDARG"),
        (("create", tmp_path / "y.vhd", "--size", "huge"), 2, "is not a size"),
        (("check", tmp_path / "x.vhd"), 1, ""),
    ):
        ended = disk(*words)
        assert ended.code == code, (words, ended)
        assert text in ended.err
        assert "Traceback" not in ended.err + ended.out


def test_findings_of_a_check_are_json_too(tmp_path: Path) -> None:
    """A damaged disk ends the check with one, its findings named."""
    disk("create", tmp_path / "d.vhd", "--size", "20M")
    os.truncate(tmp_path / "d.vhd", (tmp_path / "d.vhd").stat().st_size - 512)
    ended = disk("check", tmp_path / "d.vhd", "--json")
    assert ended.code == 1
    assert json.loads(ended.out)[0]["problem"] == "footer_lost"
    assert disk("repair", tmp_path / "d.vhd").code == 0
    assert disk("check", tmp_path / "d.vhd").code == 0


def test_an_export_serves_until_it_is_ended(tmp_path: Path) -> None:
    """The address is printed, QEMU reads there, and SIGTERM ends it and takes the socket away."""
    disk("create", tmp_path / "d.vhd", "--size", "20M")
    command = [*INNKEEPER, "disk", "export", str(tmp_path / "d.vhd"), "--socket", str(tmp_path / "s")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        size = subprocess.run(
            ["nbdinfo", "--size", url], capture_output=True, text=True, check=True, timeout=30
        )
        assert int(size.stdout) == 20 << 20
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert not (tmp_path / "s").exists()


def test_a_killed_export_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    """kill -9 without a flush: what the client was told of is in the disk."""
    disk("create", tmp_path / "d.vhd", "--size", "20M")
    command = [*INNKEEPER, "disk", "export", tmp_path / "d.vhd", "--socket", tmp_path / "s", "--writable"]
    with subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        with connected(process.stdout.readline().strip()) as client:
            client.write(b"acknowledged", 5 << 20)
            process.kill()
            process.wait()
    assert disk("convert", tmp_path / "d.vhd", tmp_path / "d.raw", "--to", "raw").code == 0
    assert (tmp_path / "d.raw").read_bytes()[5 << 20 :].startswith(b"acknowledged")


def test_a_chain_whose_parent_has_another_time_can_be_read_out(tmp_path: Path) -> None:
    """With the option that says so, conversions and exports go on."""
    base, child = tmp_path / "base.vhd", tmp_path / "child.vhd"
    disk("create", base, "--size", "20M")
    disk("create", child, "--parent", base)
    os.utime(base, (1_700_000_000, 1_700_000_000))
    for words in (
        ("convert", child, tmp_path / "new.raw", "--to", "raw"),
        ("merge-to", child, tmp_path / "new.vhd"),
    ):
        refused = disk(*words)
        assert "--ignore-parent-time" in " ".join(refused.err.split())
        assert disk(*words, "--ignore-parent-time").code == 0
    command = [
        *INNKEEPER,
        "disk",
        "export",
        str(child),
        "--socket",
        str(tmp_path / "s"),
        "--ignore-parent-time",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("nbd+unix:")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_parents_lie_beside_the_named_files_or_where_it_is_said(tmp_path: Path) -> None:
    """A parent elsewhere is refused by its name, until its folder is allowed."""
    (tmp_path / "golden").mkdir()
    base, child = tmp_path / "golden" / "base.vhd", tmp_path / "own" / "child.vhd"
    disk("create", base, "--size", "20M")
    assert disk("create", child, "--parent", base).code == 0
    words = ("convert", child, tmp_path / "own" / "new.raw", "--to", "raw")
    refused = disk(*words)
    assert "ERROR_BAD_PATHNAME" in refused.err
    assert "base.vhd" in refused.err
    assert disk("--within", base.parent, *words).code == 0


def test_a_format_that_is_unclear_is_asked_for(tmp_path: Path) -> None:
    """A raw image with the mark of another format is converted when the person has said that it is raw."""
    (tmp_path / "d.img").write_bytes(b"QFI\xfb".ljust(4 << 20, b"\0"))
    words = ("convert", tmp_path / "d.img", tmp_path / "new.vhd", "--to", "fixed")
    refused = disk(*words)
    assert "--format" in refused.err
    assert disk(*words, "--format", "raw").code == 0
