#!/bin/sh
# Innkeeper's kit for Linux guests: what the host runs through qemu-guest-agent where no task agent is.
#
# One verb a question, one JSON object an answer; the verbs are described with the host's half of it
# (innkeeper.channels.kits). Plain POSIX sh and awk: dash, BusyBox' ash, and every awk there is. The parts of
# this file follow one another: words, runs, causes, locks, package managers, the worker, updates, networks, health, verbs.
set -u
umask 077

KIT_VERSION=1
PROTOCOL=1

LC_ALL=C LANG=C DEBIAN_FRONTEND=noninteractive
export LC_ALL LANG DEBIAN_FRONTEND
# An early unit has no search path, and dpkg refuses one without the administrator's directories.
PATH="${PATH:+$PATH:}/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOME="${HOME:-/root}"
export PATH HOME

# Where the guest's files begin; anything but the root is for tests, and nothing outside of it is changed then.
R="${INNKEEPER_ROOT:-}"
STATE="$R/var/lib/innkeeper/kit"
SELF="$0"
# Of the worker: its step's directory. Elsewhere empty, and nothing is noted.
RUN=
TAB="$(printf '\t')"
NL='
'

has() { command -v "$1" >/dev/null 2>&1; }

# The file of a program: a BusyBox shell prefers its own dpkg and rpm to the real ones by name.
path_of() {
    _rest=$PATH:
    while [ -n "$_rest" ]; do
        if [ -x "${_rest%%:*}/$1" ]; then
            printf '%s' "${_rest%%:*}/$1"
            return
        fi
        _rest=${_rest#*:}
    done
    printf '%s' "$1"
}

# The first line of a small file; empty where there is none.
line_of() {
    _line=
    [ -r "$1" ] && IFS= read -r _line <"$1"
    printf '%s' "$_line"
}

has_systemd() { [ -d "$R/run/systemd/system" ]; }

boot_id() {
    _boot=$(line_of "$R/proc/sys/kernel/random/boot_id")
    [ -n "$_boot" ] || _boot=$(line_of /proc/sys/kernel/random/boot_id)
    printf '%s' "$_boot"
}

# Whole seconds since the boot.
uptime_s() {
    _up=$(line_of "$R/proc/uptime")
    _up=${_up%%[. ]*}
    printf '%s' "${_up:-0}"
}

# Seconds of this run's clock, that never goes back.
now_s() {
    _now=$(line_of /proc/uptime)
    printf '%s' "${_now%%.*}"
}

# A moment; programs that sleep for whole seconds only sleep for one.
glance() { sleep 0.2 2>/dev/null || sleep 1; }

# A program with a bound, where there is one to be had.
within() {
    _seconds=$1
    shift
    if has timeout; then timeout "$_seconds" "$@"; else "$@"; fi
}

# Replace a file by the lines that come in, so that it is always whole; on a full disk once more, in the room
# that was kept. Returns 1 where it is as it was.
put() { # FILE
    _content=$(cat)
    put_content "$1" && return
    give_room_back && put_content "$1"
}

put_content() {
    printf '%s' "${_content:+$_content$NL}" | cat 2>/dev/null >"$1.new" && mv -f "$1.new" "$1" && return
    rm -f "$1.new"
    return 1
}

# The same, and on the disk before anything else is done.
put_durably() {
    put "$1" || return
    sync "$1" 2>/dev/null || sync
    sync "${1%/*}" 2>/dev/null || sync
}

# A directory of this call's own for what it notes on the way: in memory where that is to be had, so that a full
# disk keeps nobody from an answer.
scratch() {
    T=
    for _base in "$R/run" "$STATE"; do
        [ -d "$_base" ] && take_scratch "$_base/innkeeper-kit" && break
    done
    [ -n "$T" ] || refuse "The guest cannot write to $STATE: its disk is full, or can only be read."
    trap 'rm -rf "$T"' EXIT
    trap 'exit 1' HUP INT TERM
}

take_scratch() { # DIRECTORY
    mkdir -p "$1" 2>/dev/null || return
    # What others left that were killed.
    for _left in "$1"/[0-9]* "$STATE/tmp"/[0-9]*; do
        [ -d "/proc/${_left##*/}" ] || rm -rf "$_left"
    done
    rm -rf "$1/$$"
    if mkdir "$1/$$" && head -c 65536 /dev/zero >"$1/$$/room"; then
        rm -f "$1/$$/room"
        T="$1/$$"
        return
    fi 2>/dev/null
    rm -rf "$1/$$"
    return 1
}
