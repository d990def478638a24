# ruff: noqa: E501 - shell of guests, a line as each needs
"""The nights: what goes wrong in the field, and what only looks as if it did."""

from __future__ import annotations

from innkeeper.wire.states import Verdict
from tests.matrix.case import Case
from tests.matrix.packages import Deb

_KEPT, _BACK = Verdict.KEPT, Verdict.ROLLED_BACK
_NOT_STARTED, _NOTHING = Verdict.NOT_STARTED, Verdict.NOTHING_TO_DO

_ENABLE = "systemctl daemon-reload; systemctl enable -q {unit}; systemctl restart --no-block {unit}"
_WELL = "#!/bin/sh\nexec /usr/bin/python3 -m http.server --bind 0.0.0.0 8080 --directory /usr/share\n"
_SHOP_UNIT = """\
[Unit]
Description=The shop
StartLimitIntervalSec=0
[Service]
ExecStart=/usr/bin/shop
Restart=always
RestartSec=1
[Install]
WantedBy=multi-user.target
"""


def unit_of(extra: str = "", *, program: str = "/usr/bin/shop", restart: str = "no") -> str:
    """A service of the boot."""
    return (
        f"[Service]\nExecStart={program}\nRestart={restart}\nRestartSec=1\n{extra}\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )


def shop(
    version: str,
    program: str = _WELL,
    *,
    unit: str = _SHOP_UNIT,
    after: str = "",
    fields: dict[str, str] | None = None,
    files: dict[str, str] | None = None,
    conffiles: tuple[str, ...] = (),
    ballast_mib: int = 0,
    before: str = "",
) -> Deb:
    """A server with a service; ``before`` and ``after`` run around its restart by ``postinst``."""
    postinst = "\n".join(filter(None, (before, _ENABLE.format(unit="shop.service"), after)))
    return Deb(
        version=version,
        files={"usr/bin/shop": program, "lib/systemd/system/shop.service": unit, **(files or {})},
        scripts={"postinst": postinst},
        fields=fields or {},
        conffiles=conffiles,
        ballast_mib=ballast_mib,
    )


_SHOP = shop("1.0")
_GOOD = shop("2.0")
_SOURCE = "echo '{line}' >/etc/apt/sources.list.d/case.list\n"
_AND = "echo '{line}' >>/etc/apt/sources.list.d/other.list\n"
_REBOOT_DUE = "touch /run/reboot-required"
_SERVE = (
    "cat >/lib/systemd/system/{name}.service <<'END'\n{unit}END\n"
    "systemctl daemon-reload; systemctl enable -q {name}; systemctl start --no-block {name}\n"
)


def serve(name: str, unit: str) -> str:
    """Shell that installs and starts a unit of the guest's own, of no package."""
    return _SERVE.format(name=name, unit=unit)


def program(path: str, text: str) -> str:
    """Shell that puts a program into the guest."""
    return f"cat >{path} <<'END'\n{text}\nEND\nchmod 755 {path}\n"


_GOOD_AND_BAD = (
    Case(name="good", story="a good update of a service", verdict=_KEPT, installed=(_SHOP,), offered=(_GOOD,)),
    Case(
        name="loop", story="a Restart=always service dies every second", verdict=_BACK, says="shop.service",
        installed=(_SHOP,), offered=(shop("2.0", "#!/bin/sh\nexit 3"),),
    ),
    Case(
        name="gone", story="a service that was active is disabled and stopped", verdict=_BACK,
        says="shop.service", installed=(_SHOP,), offered=(shop("2.0", after="systemctl disable -q --now shop"),),
    ),
    Case(
        name="fails", story="a service fails after its restart", verdict=_BACK, says="shop.service",
        installed=(shop("1.0", unit=unit_of()),), offered=(shop("2.0", "#!/bin/sh\nexit 1", unit=unit_of()),),
    ),
    Case(
        name="deaf", story="a service runs and listens no more", verdict=_BACK, says="8080",
        installed=(_SHOP,), offered=(shop("2.0", "#!/bin/sh\nexec sleep infinity"),),
    ),
    Case(
        name="postinst", story="a postinst fails", verdict=_BACK, says="shop",
        installed=(_SHOP,), offered=(shop("2.0", after="echo 'cannot migrate the database' >&2; exit 1"),),
    ),
    Case(
        name="oom", story="the new version eats all memory and is killed", verdict=_BACK,
        installed=(shop("1.0", unit=unit_of()),),
        offered=(
            shop("2.0", "#!/usr/bin/python3\nfilled = []\nwhile True: filled.append(b'x' * (8 << 20))\n",
                 unit=unit_of("MemorySwapMax=0")),
        ),
    ),
    Case(
        name="check", story="a check of the administrator's fails: a certificate that has expired", verdict=_BACK,
        says="certificate", installed=(_SHOP,),
        offered=(shop("2.0", after="touch /srv/expired"),),
        setup="mkdir -p /etc/innkeeper/health/required.d\n" + program(
            "/etc/innkeeper/health/required.d/certificate",
            "#!/bin/sh\n[ ! -e /srv/expired ] || { echo 'the certificate has expired'; exit 1; }"),
    ),
    Case(
        name="sshd", story="a changed default keeps sshd from starting", verdict=_BACK,
        installed=(shop("1.0", unit=unit_of(program="/usr/bin/shop /etc/shop.conf"), files={"etc/shop.conf": "ok"}),),
        offered=(
            shop("2.0", "#!/bin/sh\ngrep -q ok $1 || { echo \"ssh: bad configuration option: $1\"; exit 255; }\nexec sleep 9999",
                 unit=unit_of(program="/usr/bin/shop /etc/shop.conf"), files={"etc/shop.conf": "new syntax"}),
        ),
    ),
    Case(
        name="ignored", story="a fault that the administrator calls none", verdict=_KEPT, says="ignored",
        installed=(_SHOP,), offered=(shop("2.0", after="systemctl disable -q --now shop"),),
        ignored=("unit:shop.service",),
    ),
)  # fmt: skip

_NO_CHANGE = (
    Case(
        name="mirror", story="the mirror is down", verdict=_NOT_STARTED, changes=False, installed=(_SHOP,),
        setup=_SOURCE.format(line="deb [trusted=yes] http://127.0.0.1:9/debian ./"),
    ),
    Case(
        name="dns", story="names cannot be resolved", verdict=_NOT_STARTED, changes=False, installed=(_SHOP,),
        setup=_SOURCE.format(line="deb [trusted=yes] http://archive.invalid/debian ./"),
    ),
    Case(
        name="sourceless", story="no source at all", verdict=_NOT_STARTED, changes=False, installed=(_SHOP,),
        setup="rm /etc/apt/sources.list.d/case.list\n",
    ),
    Case(
        name="unsigned", story="an unsigned repository", verdict=_NOT_STARTED, changes=False,
        says="signed", installed=(_SHOP,), offered=(_GOOD,), setup=_SOURCE.format(line="deb file:/case/archive ./"),
    ),
    Case(
        name="expired", story="the repository's Release has expired", verdict=_NOT_STARTED, changes=False,
        installed=(_SHOP,), offered=(_GOOD,),
        setup="sed -i '/^Date/a Valid-Until: Thu, 01 Jan 2015 00:00:00 UTC' /case/archive/Release\n",
    ),
    Case(
        name="clock", story="the guest's clock is years behind: it is set before anything is asked", verdict=_KEPT,
        installed=(_SHOP,), offered=(_GOOD,), setup="date -s 2012-01-01\n",
    ),
    Case(
        name="proxy", story="a proxy that is not there", verdict=_NOT_STARTED, changes=False, installed=(_SHOP,),
        setup=_SOURCE.format(line="deb [trusted=yes] http://deb.example.org/debian ./")
        + "echo 'Acquire::http::Proxy \"http://127.0.0.1:3128\";' >/etc/apt/apt.conf.d/proxy\n",
    ),
    Case(
        name="lost", story="the list names a package that is not in the archive (404)", verdict=_NOT_STARTED,
        changes=False, installed=(_SHOP,), offered=(_GOOD,), setup="rm /case/archive/shop_2.0_all.deb\n",
    ),
    Case(
        name="full", story="no room for what has to be unpacked", verdict=_NOT_STARTED,
        changes=False, says="No room", installed=(_SHOP,), offered=(shop("2.0", ballast_mib=24),),
        setup="fallocate -l $(( $(df --output=avail -k / | tail -1) - 8192 ))k /srv/filler\n",
    ),
    Case(
        name="unmet", story="a dependency that nobody offers", verdict=_NOTHING, changes=False, says="shop",
        installed=(_SHOP,), offered=(shop("2.0", fields={"Depends": "nowhere (>= 2)"}),),
    ),
    Case(
        name="held", story="the only update is of a package on hold", verdict=_NOTHING, changes=False, says="shop",
        installed=(_SHOP,), offered=(_GOOD,), setup="apt-mark hold shop\n",
    ),
    Case(
        name="phased", story="an update that is phased in, and not for this machine yet", verdict=_NOTHING,
        changes=False, says="phased", installed=(_SHOP,), offered=(shop("2.0", fields={"Phased-Update-Percentage": "0"}),),
    ),
    Case(name="nothing", story="nothing to do", verdict=_NOTHING, changes=False, installed=(_SHOP,)),
    Case(
        name="unknown", story="a package manager that nobody knows", verdict=_NOT_STARTED, changes=False,
        installed=(_SHOP,), setup="mv /usr/bin/apt-get /usr/bin/apt-get.away\n",
    ),
)  # fmt: skip

_LOOKS_BAD = (
    Case(
        name="third", story="one third-party source of two gives 404", verdict=_KEPT, installed=(_SHOP,),
        offered=(_GOOD,), setup=_AND.format(line="deb [trusted=yes] file:/case/third-party ./"),
    ),
    Case(
        name="locked", story="somebody else has the lock for 40 seconds", verdict=_KEPT, installed=(_SHOP,),
        offered=(_GOOD,),
        setup="systemd-run --no-block --unit=holder python3 -c \"import fcntl, time; f = open('/var/lib/dpkg/lock-frontend', 'w'); "
        "fcntl.lockf(f, fcntl.LOCK_EX); time.sleep(40)\"\n",
    ),
    Case(
        name="ports", story="UDP sockets come and go, TCP listens elsewhere after each start", verdict=_KEPT,
        installed=(_SHOP,), offered=(shop("2.0", after="systemctl restart --no-block poller"),),
        setup=program(
            "/usr/bin/poller",
            "#!/usr/bin/python3\nimport socket, time\nt = socket.socket(); t.bind(('0.0.0.0', 0)); t.listen()\n"
            "while True:\n    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(('0.0.0.0', 0)); time.sleep(2); u.close()",
        ) + serve("poller", unit_of(program="/usr/bin/poller")),
    ),
    Case(
        name="java", story="a server that listens 75 seconds after its start", verdict=_KEPT,
        installed=(shop("1.0", "#!/bin/sh\nsleep 5\n" + _WELL.partition("\n")[2]),),
        offered=(shop("2.0", "#!/bin/sh\nsleep 75\n" + _WELL.partition("\n")[2]),),
    ),
    Case(
        name="migration", story="a database migration of 100 seconds before the service is up", verdict=_KEPT,
        installed=(shop("1.0", unit=unit_of("TimeoutStartSec=600")),),
        offered=(shop("2.0", unit=unit_of("ExecStartPre=/bin/sleep 100\nTimeoutStartSec=600")),),
    ),
    Case(
        name="audit", story="a package that has been half configured for years", verdict=_KEPT,
        installed=(_SHOP,), offered=(_GOOD,),
        setup="mkdir -p /tmp/o/DEBIAN; printf 'Package: oldie\\nVersion: 1\\nArchitecture: all\\nMaintainer: n <n@example.org>\\nDescription: x\\n' >/tmp/o/DEBIAN/control\n"
        "dpkg-deb -b /tmp/o /tmp/o.deb; dpkg --unpack /tmp/o.deb\n"
        "printf '#!/bin/sh\\nexit 1\\n' >/var/lib/dpkg/info/oldie.postinst; chmod 755 /var/lib/dpkg/info/oldie.postinst\n"
        "apt-mark hold oldie\n",
    ),
    Case(
        name="mounts", story="projected volumes, container memory and squashfs come and go", verdict=_KEPT,
        installed=(_SHOP,),
        offered=(shop("2.0", after="umount /var/lib/kubelet/pods/a/volumes/x /var/lib/containers/shm /snap/core/1; mkdir -p /snap/core/2; mount -t tmpfs t /snap/core/2"),),
        setup="for each in /var/lib/kubelet/pods/a/volumes/x /var/lib/containers/shm /snap/core/1; do mkdir -p $each; mount -t tmpfs t $each; done\n",
    ),
    Case(
        name="flapping", story="a service that dies every few seconds, before and after", verdict=_KEPT,
        installed=(_SHOP,), offered=(_GOOD,),
        setup=program("/usr/bin/flap", "#!/bin/sh\nsleep 2; exit 1") + serve("flap", unit_of(program="/usr/bin/flap", restart="always").replace("[Service]", "[Unit]\nStartLimitIntervalSec=0\n[Service]")),
    ),
    Case(
        name="flapport", story="a server that dies every few seconds, before and after, with its port", verdict=_KEPT,
        installed=(_SHOP,), offered=(_GOOD,),
        setup=program("/usr/bin/flap", "#!/bin/sh\ntimeout 6 /usr/bin/python3 -m http.server --bind 0.0.0.0 8090\nexit 1")
        + serve("flap", unit_of(program="/usr/bin/flap", restart="always").replace("[Service]", "[Unit]\nStartLimitIntervalSec=0\n[Service]")),
    ),
    Case(
        name="lately", story="a unit that failed in the week before fails again", verdict=_KEPT,
        installed=(_SHOP,), offered=(shop("2.0", after="touch /srv/trouble; systemctl restart --no-block moody"),),
        setup="touch /srv/trouble\n" + program("/usr/bin/moody", "#!/bin/sh\n[ ! -e /srv/trouble ] || exit 1\nexec sleep infinity")
        + serve("moody", unit_of(program="/usr/bin/moody")) + "sleep 6; rm /srv/trouble; systemctl reset-failed moody; systemctl start --no-block moody\n",
    ),
    Case(
        name="latelyport", story="a server that failed in the week before fails again, and its port with it", verdict=_KEPT,
        says="tcp 0.0.0.0:8090", installed=(_SHOP,), offered=(shop("2.0", after="touch /srv/trouble; systemctl restart --no-block moody"),),
        setup="touch /srv/trouble\n" + program("/usr/bin/moody", "#!/bin/sh\n[ ! -e /srv/trouble ] || exit 1\nexec /usr/bin/python3 -m http.server --bind 0.0.0.0 8090")
        + serve("moody", unit_of(program="/usr/bin/moody")) + "sleep 6; rm /srv/trouble; systemctl reset-failed moody; systemctl start --no-block moody\n",
    ),
    Case(
        name="timer", story="a timer's job that our lock disturbs", verdict=_KEPT, installed=(_SHOP,), offered=(shop("2.0", before="sleep 20"),),
        setup=program("/usr/bin/job", "#!/usr/bin/python3\nimport fcntl\nf = open('/var/lib/dpkg/lock-frontend', 'w')\nfcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB)")
        + "printf '[Service]\\nType=oneshot\\nExecStart=/usr/bin/job\\n' >/lib/systemd/system/job.service\n"
        "printf '[Timer]\\nOnBootSec=5\\nOnUnitActiveSec=4\\nAccuracySec=1\\n[Install]\\nWantedBy=timers.target\\n' >/lib/systemd/system/job.timer\n"
        "systemctl daemon-reload; systemctl enable -q job.timer; systemctl start --no-block job.timer\n",
    ),
    Case(
        name="lockjob", story="a job with apt that fails for the update's lock, and is started again", verdict=_KEPT,
        says="The job report.service failed because the update held the package manager's lock; it is started again.",
        installed=(_SHOP,), offered=(shop("2.0", before="systemctl start --no-block report; sleep 15"),),
        setup="printf '[Service]\\nType=oneshot\\nExecStart=/usr/bin/apt-get -y install shop\\n' >/lib/systemd/system/report.service\n"
        "systemctl daemon-reload\n",
    ),
    Case(
        name="conffile", story="a configuration file that the administrator has changed", verdict=_KEPT,
        installed=(shop("1.0", files={"etc/shop.conf": "old\n"}, conffiles=("/etc/shop.conf",)),),
        offered=(shop("2.0", files={"etc/shop.conf": "new\n"}, conffiles=("/etc/shop.conf",)),),
        setup="echo mine >/etc/shop.conf\n",
    ),
    Case(
        name="stdin", story="a postinst that reads its input", verdict=_KEPT, installed=(_SHOP,),
        offered=(shop("2.0", before="read answer || answer=default"),),
    ),
    Case(
        name="tty", story="a postinst that asks at the terminal", verdict=_KEPT, installed=(_SHOP,),
        offered=(shop("2.0", before="(read answer </dev/tty) 2>/dev/null || answer=default"),),
    ),
    Case(
        name="session", story="somebody is logged on and works", verdict=_KEPT, installed=(_SHOP,), offered=(_GOOD,),
        setup="systemd-run --no-block --scope --unit=session-9 sleep infinity &\n",
    ),
    Case(
        name="cron", story="a job of cron's runs all the time", verdict=_KEPT, installed=(_SHOP,), offered=(_GOOD,),
        setup="printf '[Service]\\nType=oneshot\\nExecStart=/bin/sleep 30\\n' >/lib/systemd/system/nightly.service\nsystemctl daemon-reload; systemctl start --no-block nightly\n",
    ),
    Case(
        name="removed", story="the update removes a service on purpose", verdict=_KEPT, installed=(
            _SHOP,
            Deb(name="legacy", files={"lib/systemd/system/legacy.service": unit_of(program="/bin/sleep infinity")},
                scripts={"postinst": _ENABLE.format(unit="legacy.service"), "prerm": "systemctl disable -q --now legacy.service"}),
        ),
        offered=(
            shop("2.0"),
            Deb(name="legacy", version="2.0", scripts={"postinst": "systemctl daemon-reload"}),
        ),
    ),
    Case(
        name="nofail", story="a mount of fstab's with nofail is gone", verdict=_KEPT, installed=(_SHOP,),
        offered=(shop("2.0", after="umount /mnt/stick"),),
        setup="mkdir -p /mnt/stick; echo 'tmpfs /mnt/stick tmpfs nofail 0 0' >>/etc/fstab; systemctl daemon-reload; mount /mnt/stick\n",
    ),
)  # fmt: skip

_BOOTS = (
    Case(
        name="reboot", story="a good update that wants a reboot", verdict=_KEPT, reboots=1, installed=(_SHOP,),
        offered=(shop("2.0", after=_REBOOT_DUE),),
    ),
    Case(
        name="rebooter", story="an update that reboots by itself", verdict=_KEPT, reboots=1, installed=(_SHOP,),
        offered=(shop("2.0", after="systemd-run --no-block --on-active=8 systemctl reboot"),),
    ),
    Case(
        name="badboot", story="a service that starts no more at the next boot", verdict=_BACK, says="shop.service",
        installed=(_SHOP,),
        offered=(shop("2.0", after="rm /etc/systemd/system/multi-user.target.wants/shop.service; " + _REBOOT_DUE),),
    ),
    Case(
        name="panic", story="a kernel that panics at each boot", verdict=_BACK, installed=(_SHOP,),
        offered=(
            shop("2.0", files={"lib/systemd/system/crash.service": "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo c >/proc/sysrq-trigger'\n[Install]\nWantedBy=sysinit.target\n"},
                 after="systemctl enable -q crash.service; " + _REBOOT_DUE),
        ),
    ),
    Case(
        name="noinit", story="init is gone: each boot ends in the initramfs, and reboots", verdict=_BACK, says="init",
        installed=(_SHOP,),
        offered=(shop("2.0", after="mv /usr/lib/systemd/systemd /usr/lib/systemd/systemd.gone; " + _REBOOT_DUE),),
    ),
    Case(
        name="rescue", story="a boot that ends in rescue mode: fstab names a disk that is not there", verdict=_BACK, says="Its console said: “Cannot open access to console, the root account is locked.”",
        installed=(_SHOP,),
        offered=(shop("2.0", after="echo '/dev/vdz /srv/data ext4 defaults,x-systemd.device-timeout=5 0 2' >>/etc/fstab; " + _REBOOT_DUE),),
    ),
    Case(
        name="fstab", story="a mount of fstab's does not come back", verdict=_BACK, says="/srv/data", installed=(_SHOP,),
        offered=(shop("2.0", after="sed -i '/srv.data/d' /etc/fstab; systemctl daemon-reload; " + _REBOOT_DUE),),
        setup="mkdir -p /srv/data; echo 'tmpfs /srv/data tmpfs defaults 0 0' >>/etc/fstab; systemctl daemon-reload; mount /srv/data\n",
    ),
    Case(
        name="swap", story="swap of fstab's does not come back", verdict=_BACK, says="/srv/swapfile", installed=(_SHOP,),
        offered=(shop("2.0", after="sed -i '/swapfile/d' /etc/fstab; systemctl daemon-reload; " + _REBOOT_DUE),),
        setup="dd if=/dev/zero of=/srv/swapfile bs=1M count=16; chmod 600 /srv/swapfile; mkswap /srv/swapfile\n"
        "echo '/srv/swapfile none swap sw 0 0' >>/etc/fstab; systemctl daemon-reload; swapon /srv/swapfile\n",
    ),
    Case(
        name="python", story="the update removes Python, and with it the agent's interpreter", verdict=_BACK,
        installed=(_SHOP,), offered=(shop("2.0", after="mv /usr/bin/python3.11 /usr/bin/python3.gone; " + _REBOOT_DUE),),
    ),
)  # fmt: skip

_TOOLS = (
    Case(
        name="systemd", story="systemd itself is updated, and executes itself anew", verdict=_KEPT, installed=(_SHOP,),
        offered=(shop("2.0", after="systemctl daemon-reexec"),),
    ),
    Case(
        name="agent", story="the task agent itself is restarted by the update", verdict=_KEPT, installed=(_SHOP,),
        offered=(shop("2.0", after="systemctl restart --no-block innkeeper-agent"),),
    ),
    Case(
        name="qga", story="qemu-guest-agent is restarted by the update", verdict=_KEPT, installed=(_SHOP,),
        offered=(shop("2.0", after="systemctl restart --no-block qemu-guest-agent"),),
    ),
    Case(
        name="filled", story="a postinst fills the disk to the last byte, and fails", verdict=_BACK, says="No space left on device",
        installed=(_SHOP,),
        offered=(shop("2.0", after="cat /dev/zero >/srv/filler || true; echo more >/srv/more"),),
    ),
    Case(
        name="boot", story="/boot is full, and a kernel wants to be written there", verdict=_BACK, says="no room on /boot",
        installed=(_SHOP,),
        offered=(Deb(name="shop", version="2.0", files={"boot/vmlinuz-9": "x" * 3_000_000},),),
        setup="mkdir -p /boot; mount -t tmpfs -o size=1m boot /boot\n",
    ),
)  # fmt: skip

_LAN = "[Match]\\nName=en*\\n[Network]\\nDHCP=ipv4\\n"
#: A guest that gets its address by DHCP, as most do.
_WITH_LAN = (
    f"printf '{_LAN}' >/etc/systemd/network/50-lan.network\n"
    "systemctl enable -q systemd-networkd; systemctl start --no-block systemd-networkd\n"
)
_OTHER_LAN = "[Match]\nName=*\n[Network]\nDHCP=no\nLinkLocalAddressing=no\n"

_WHOLE = (
    Case(
        name="kernel", story="a new initramfs on a guest's own kernel: good, and it wants a reboot", verdict=_KEPT,
        reboots=1, is_whole=True, installed=(_SHOP,),
        offered=(shop("2.0", after="update-initramfs -u; " + _REBOOT_DUE),),
    ),
    Case(
        name="initramfs", story="an initramfs that was cut in the middle: the kernel panics", verdict=_BACK,
        says="Its console said: “Kernel panic - not syncing: No working init found", is_whole=True,
        installed=(_SHOP,),
        offered=(shop("2.0", after="for one in /boot/initrd.img-*; do truncate -s 1M $one; done; " + _REBOOT_DUE),),
    ),
    Case(
        name="driver", story="an initramfs without the disk's driver: the boot ends in its emergency shell",
        verdict=_BACK, says="does not exist", is_whole=True, installed=(_SHOP,),
        offered=(
            shop("2.0", files={"etc/initramfs-tools/conf.d/shop": "MODULES=list\n"},
                 after="update-initramfs -u; " + _REBOOT_DUE),
        ),
    ),
    Case(
        name="grub", story="GRUB's menu names a kernel that is not there", verdict=_BACK, says="not found",
        is_whole=True, installed=(_SHOP,),
        offered=(shop("2.0", after="sed -i s,/vmlinuz,/vmlinuz-9, /boot/grub/grub.cfg; " + _REBOOT_DUE),),
    ),
    Case(
        name="apparmor", story="a profile of AppArmor's that comes with the update denies the service its files",
        verdict=_BACK, says="AppArmor", is_whole=True,
        installed=(shop("1.0", unit=unit_of()),),
        offered=(
            shop("2.0", unit=unit_of(), before="apparmor_parser -r /etc/apparmor.d/usr.bin.shop",
                 files={"etc/apparmor.d/usr.bin.shop": "/usr/bin/shop {\n  /usr/bin/shop r,\n  /{,usr/}bin/dash mr,\n  /{,usr/}lib/** mr,\n  /etc/ld.so.cache r,\n}\n"}),
        ),
    ),
    Case(
        name="network", story="the update takes over the network's configuration: the machine's own port alone is left",
        verdict=_BACK, says="default route", is_whole=True, installed=(_SHOP,), setup=_WITH_LAN,
        offered=(
            shop("2.0", files={"etc/systemd/network/05-shop.network": _OTHER_LAN},
                 after="systemctl restart systemd-networkd"),
        ),
    ),
    Case(
        name="renetwork", story="the update restarts the network, and its address comes back", verdict=_KEPT,
        is_whole=True, installed=(_SHOP,), setup=_WITH_LAN,
        offered=(shop("2.0", after="networkctl down enp1s0 || true; systemctl restart systemd-networkd"),),
    ),
)  # fmt: skip

_BOT = "[Service]\nExecStart=/usr/bin/bot\n[Install]\nWantedBy=default.target\n"
_WITH_USER = (
    "useradd --create-home --shell /bin/sh bob\nmkdir -p ~bob/.config/systemd/user/default.target.wants\n"
    f"cat >~bob/.config/systemd/user/bot.service <<'END'\n{_BOT}END\n"
    "ln -s ../bot.service ~bob/.config/systemd/user/default.target.wants/\nchown -R bob: ~bob\n"
)
_WORKS = "#!/bin/sh\nexec sleep infinity\n"
_RESTART_BOT = "pkill -x -u bob sleep || true; systemctl restart user@$(id -u bob).service"

_USERS = (
    Case(
        name="linger", story="a service of a user's who lingers starts no more", verdict=_BACK, says="bot.service",
        installed=(shop("1.0", files={"usr/bin/bot": _WORKS}),),
        offered=(shop("2.0", files={"usr/bin/bot": "#!/bin/sh\nexit 1\n"}, after=_RESTART_BOT),),
        setup=_WITH_USER + "loginctl enable-linger bob\n",
    ),
    Case(
        name="userloop", story="a service of a user's who lingers lives five seconds of every six", verdict=_BACK, says="bot.service",
        installed=(shop("1.0", files={"usr/bin/bot": _WORKS}),),
        offered=(shop("2.0", files={"usr/bin/bot": "#!/bin/sh\nsleep 5\nexit 1\n"}, after=_RESTART_BOT),),
        setup=_WITH_USER.replace("[Install]", "Restart=always\nRestartSec=1\n[Install]") + "loginctl enable-linger bob\n",
    ),
    Case(
        name="lingers", story="a service of a user's who lingers is restarted by the update, and is well",
        verdict=_KEPT, installed=(shop("1.0", files={"usr/bin/bot": _WORKS}),),
        offered=(shop("2.0", files={"usr/bin/bot": _WORKS}, after=_RESTART_BOT),),
        setup=_WITH_USER + "loginctl enable-linger bob\n",
    ),
    Case(
        name="login", story="somebody is logged in, with a server of his own that the update ends", verdict=_KEPT,
        says="login session", installed=(_SHOP,), offered=(shop("2.0", after="pkill -u bob python3"),),
        setup=_WITH_USER + "systemd-run -q --no-block -p PAMName=login -p User=bob -p Type=simple "
        "/usr/bin/python3 -m http.server 8022\n",
    ),
)  # fmt: skip

CASES: tuple[Case, ...] = (*_GOOD_AND_BAD, *_NO_CHANGE, *_LOOKS_BAD, *_BOOTS, *_TOOLS, *_WHOLE, *_USERS)
