"""Find the addresses that managers of a cluster give to one of its machines at a time.

Such an address is at home on no machine. Which ones float is what managers that run are told to look after.
"""

import glob
import ipaddress
import os
import re
from typing import Callable, Dict, Iterator, List, Set

from innkeeper.agent.inits.processes import Processes
from innkeeper.agent.places import Places, read_text

#: How a default route is named that floats.
DEFAULT = "default"
_MOST = 500

_KEEPALIVED = "/etc/keepalived/keepalived.conf"
_COMMENT = re.compile(r"[!#].*")
_INCLUDE = re.compile(r"^\s*include[a-z]*\s+\"?([^\"\s]+)\"?\s*$", re.MULTILINE)
_DEFINITION = re.compile(r"^\s*\$(\w+)=(.*)$", re.MULTILINE)
_REFERENCE = re.compile(r"\$\{?(\w+)\}?")
_BLOCK = re.compile(r"\bvirtual_(ipaddress|ipaddress_excluded|routes)\s*\{([^}]*)\}")
_NAMED_IP = re.compile(r"<nvpair\b[^>]*\bname=\"ip\"[^>]*>")
_VALUE = re.compile(r"\bvalue=\"([^\"]*)\"")


def floating(places: Places) -> List[str]:
    """Return them, in order; with ``default`` where a default route floats too."""
    processes = Processes(places)
    told = {
        name
        for program, read in _MANAGERS.items()
        # Anybody may call a program so: of root's alone it is known that it is the machine's.
        for process in processes.named(program)
        if processes.is_of_root(process)
        for name in read(places, processes.words(process))
    }
    return sorted(name for name in told if name == DEFAULT or is_address(name))[:_MOST]


def is_address(text: str) -> bool:
    """Return whether it is an address of IPv4."""
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def _keepalived(places: Places, words: List[str]) -> Iterator[str]:
    path = _option(words, "-f", "--use-file") or _KEEPALIVED
    text = "\n".join(_with_included(places, places.under(path.lstrip("/")), set()))
    values = dict(_DEFINITION.findall(text))
    text = _REFERENCE.sub(lambda found: values.get(found.group(1), ""), text)
    for kind, block in _BLOCK.findall(text):
        for line in block.splitlines():
            # @word at the begin: the line is for one of the machines that share the file.
            parts = [part for part in line.split() if not part.startswith("@")]
            if kind != "routes":
                yield from (part.partition("/")[0] for part in parts[:1])
            elif {DEFAULT, "0.0.0.0/0"}.intersection(parts) and "table" not in parts:
                yield DEFAULT


def _with_included(places: Places, path: str, seen: Set[str]) -> Iterator[str]:
    """Yield the text of a file and of those that it includes, each once, without comments."""
    if path in seen:
        return
    seen.add(path)
    if not os.path.isfile(path):
        return
    text = _COMMENT.sub("", read_text(path))
    yield text
    for pattern in _INCLUDE.findall(text):
        # One that does not begin at the root is beside the file.
        rooted = places.under(pattern[1:]) if pattern[0] == "/" else pattern
        for each in sorted(glob.glob(os.path.join(os.path.dirname(path), rooted))):
            yield from _with_included(places, each, seen)


def _pacemaker(places: Places, words: List[str]) -> Iterator[str]:
    """Yield the addresses of resources (``IPaddr2``), as each machine of the cluster keeps them."""
    for pair in _NAMED_IP.findall(read_text(places.under("var/lib/pacemaker/cib/cib.xml"))):
        yield from _VALUE.findall(pair)


def _ctdb(places: Places, words: List[str]) -> Iterator[str]:
    for line in read_text(places.under("etc/ctdb/public_addresses")).splitlines():
        yield line.strip().partition("/")[0]


def _ucarp(places: Places, words: List[str]) -> Iterator[str]:
    yield _option(words, "-a", "--addr")


def _vrrpd(places: Places, words: List[str]) -> Iterator[str]:
    """Yield what it is started with: its addresses stand by themselves."""
    yield from words


def _option(words: List[str], short: str, long: str) -> str:
    """Return the value of an option, as programs of GNU take it; empty where it is not given."""
    for word, following in zip(words, [*words[1:], ""]):
        if word in (short, long):
            return following
        if word.startswith(long + "="):
            return word[len(long) + 1 :]
        if word.startswith(short) and not word.startswith("--"):
            return word[len(short) :]
    return ""


#: By the name of the program. Corosync gives no addresses: Pacemaker does, above it.
_MANAGERS: Dict[str, Callable[[Places, List[str]], Iterator[str]]] = {
    "keepalived": _keepalived,
    "pacemakerd": _pacemaker,
    "ctdbd": _ctdb,
    "ucarp": _ucarp,
    "vrrpd": _vrrpd,
}
