# Locks: another package manager is waited for, for a bounded time, and named.

LOCK_WAIT_S=600

# Whether the program that ran has begun to change packages: a manager has its locks by then.
has_begun() { return 1; }

# Prints the process that holds the lock that the last program wanted; returns 1 where no lock was in its way.
holder_pid() {
    awk '
    {
        low = tolower($0)
        if (pid == "" && match(low, /held by process [0-9]+|locked by another process with pid [0-9]+|locked by the application with pid [0-9]+|application with pid [0-9]+ is|another copy is running as pid [0-9]+/)) {
            pid = substr(low, RSTART, RLENGTH)
            sub(/ is$/, "", pid); sub(/^.* /, "", pid)
            held = 1
        }
        if (low ~ /can.t create transaction lock|could not get lock|failed to obtain rpm transaction lock|\(unable to lock database\)|unable to lock database: resource temporarily unavailable/) held = 1
    }
    END { if (!held) exit 1; print pid }' "$T/out"
}

# Who locks one of the files that package managers lock without a word of it.
silent_locker() {
    for _file in "$R/var/lib/rpm/.rpm.lock" "$R/usr/lib/sysimage/rpm/.rpm.lock" "$R/run/dnf/rpmtransaction.lock" "$R/lib/apk/db/lock"; do
        _inode=$(stat -c %i "$_file" 2>/dev/null) || continue
        # 1: POSIX ADVISORY WRITE 12951 fe:00:2408516 0 EOF
        _found=$(awk -v inode=":$_inode" 'length($6) > length(inode) && substr($6, length($6) - length(inode) + 1) == inode { print $5; exit }' "$R/proc/locks" 2>/dev/null)
        [ -n "$_found" ] && { printf '%s' "$_found"; return; }
    done
}

# Whether a process is there; one that has ended and that nobody has asked after has no command line. What is in
# /proc has no size.
is_there() { [ -n "$(tr '\000' ' ' 2>/dev/null <"/proc/$1/cmdline" | head -c 1)" ]; }

# Program, unit and age of a process, as far as they can be seen.
describe_process() {
    if [ -z "$1" ] || ! is_there "$1"; then
        printf 'another program'
        return
    fi
    _unit=$(unit_of_process "$1")
    _since=$(date -d "@$(stat -c %Y "/proc/$1" 2>/dev/null)" +%H:%M 2>/dev/null)
    _name=$(line_of "/proc/$1/comm")
    printf '%s%s (process %s%s)' "${_name:-a program}" "${_unit:+ of $_unit}" "$1" "${_since:+, since $_since}"
}

# Run a program, again and again while another holds its lock; fails where that lasts.
run_past_locks() {
    _give_up=$(($(now_s) + LOCK_WAIT_S))
    _told=
    while :; do
        run "$@"
        [ "$CODE" = 0 ] && return
        _holder=$(holder_pid) || return 0
        has_begun && return
        [ -n "$_holder" ] || _holder=$(silent_locker)
        _who=$(describe_process "$_holder")
        [ "$(now_s)" -lt $_give_up ] || fail "The package manager is in use by $_who, and was waited for in vain."
        [ "$_who" = "$_told" ] || say "Waiting for $_who, which uses the package manager"
        _told=$_who
        pause_for "$_holder"
    done
}

# Wait for five seconds, or until a holder that is known has ended.
pause_for() {
    _until=$(($(now_s) + 5))
    while [ "$(now_s)" -lt $_until ]; do
        must_stop && fail "It was stopped at the host's request."
        glance
        [ -n "$1" ] && ! is_there "$1" && return
    done
}

# The unit of a process by its control group; user@1000.service/x.service for a user's.
AWK_UNIT='
function unit_of(path,  line, parts, count, i, first, last, fields) {
    first = last = ""
    while ((getline line < path) > 0) {
        if (split(line, fields, ":") < 3) continue
        if (last != "" || (fields[2] != "" && fields[2] != "name=systemd")) continue
        sub(/^[^:]*:[^:]*:/, "", line)
        count = split(line, parts, "/")
        for (i = 1; i <= count; i++) if (parts[i] ~ /\.(service|scope|socket)$/) { if (first == "") first = parts[i]; last = parts[i] }
    }
    close(path)
    if (last == "") return ""
    return (first ~ /^user@/ && first != last ? first "/" : "") last
}
function first_line(path,  line) {
    line = ""
    if ((getline line < path) < 0) line = ""
    close(path)
    gsub(/\t/, " ", line) # anybody may call a process so, and rows are parted by tabs
    return line
}
'

unit_of_process() { awk -v path="/proc/$1/cgroup" "$AWK_UNIT"'BEGIN { print unit_of(path) }'; }
