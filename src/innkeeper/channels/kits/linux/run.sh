# Runs: a step of an update in a directory, with all that is known of it; and programs that are listened to.
#
# A step's directory has: request (there once all else is), context, label, attempt; since (boot and uptime of
# its begin), pid (of its worker: number, start time, boot), state (status, percent, text), log, packages, end
# (how it ended, whether unchanged, text), cancel (there when it is to stop). Room for a full disk is kept in
# end.room, which becomes the end, and in reserve, which is given back for all else.

KEPT_UPDATES=32
# How long a worker may take to begin, in seconds.
START_S=120
MAX_LOG_BYTES=1048576
# What of a program's output is kept to look for causes in, and what is left of more.
MAX_OUT_BYTES=8388608
LEFT_OUT_BYTES=1048576
RESERVE_BYTES=524288

directory_of() {
    _hash=$(printf '%s' "$1" | sha256sum)
    _hash=${_hash%% *}
    printf '%s/updates/%.32s' "$STATE" "$_hash"
}

# When a process began, in ticks after the boot; empty where it is gone.
start_time() {
    [ -r "/proc/$1/stat" ] || return 0
    # The name, in parentheses, may hold anything.
    sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | awk '$1 != "Z" { print $20; exit }'
}

# Whether the worker of a step is at it.
is_held() { is_alive "$1/pid"; }

# Whether the process is there that a file names.
is_alive() {
    [ -s "$1" ] || return 1
    read -r _pid _start _boot <"$1"
    [ "$_boot" = "$(boot_id)" ] && [ -n "$_start" ] && [ "$(start_time "$_pid")" = "$_start" ]
}

# Whether no worker has taken a step up in time, or its guest went down before one could.
is_overdue() {
    [ -e "$1/pid" ] && return 1
    if ! read -r _boot _up 2>/dev/null <"$1/since"; then
        # Only just begun, or the guest went down in the middle of that.
        is_old "$1"
        return
    fi
    [ "$_boot" != "$(boot_id)" ] || [ $(($(uptime_s) - _up)) -gt $START_S ]
}

# How a step ended; settles what has died meanwhile. Sets END (empty while it goes on), UNCHANGED and TEXT.
look_at() {
    END= UNCHANGED=false TEXT=
    if [ -s "$1/end" ]; then
        :
    elif [ -e "$1/pid" ]; then
        # Asked before its end is read: a worker that ends between has written one.
        is_held "$1" && return
        [ -s "$1/end" ] || settle_dead "$1"
        # A full disk takes down no end; a worker that is gone has come to it all the same.
        [ -s "$1/end" ] || END=failed TEXT="The program that does it has died, and the disk is full."
    elif is_overdue "$1"; then
        give_up "$1"
    fi
    [ ! -s "$1/end" ] || { read -r END; read -r UNCHANGED; IFS= read -r TEXT; } <"$1/end"
}

# Of a step whose worker is gone.
settle_dead() {
    read -r _pid _start _boot <"$1/pid"
    if [ "$_boot" != "$(boot_id)" ]; then
        _words="The guest went down in the middle of it."
    else
        _words="The program that does it has died$(killed_since "$1")."
    fi
    start_again "$1"
    if [ -e "$1/acting" ]; then _same=false; else _same=true; fi
    printf 'failed\n%s\n%s\n' $_same "$_words" | put_end "$1"
}

# Start the timers again that a step has stopped, once.
start_again() { # DIRECTORY
    [ -s "$1/stopped" ] || return 0
    mv -f "$1/stopped" "$1/stopped.ended" 2>/dev/null && systemctl --no-block start $(cat "$1/stopped.ended") >/dev/null 2>&1
    return 0
}

# Of a step whose worker has not come in time, and may do so at this very moment.
give_up() {
    _boot=
    read -r _boot _up 2>/dev/null <"$1/since"
    # In this boot whoever has the worker's place decides. One that was killed as it took it has told nobody who
    # it is.
    [ "$_boot" != "$(boot_id)" ] || mkdir "$1/worker" 2>/dev/null || is_old "$1/worker" || return 0
    printf 'failed\ntrue\n%s\n' "It never began: the guest went down, or could start no program." | put_end "$1"
    is_held "$1" && rm -f "$1/end"
    return 0
}

# Whether a file has not been touched for two minutes.
is_old() { [ -n "$(find "$1" -prune -mmin +2 2>/dev/null)" ]; }

# Write down how a step ended, over room that it has had from its begin: whatever filled the disk may still do so.
put_end() { # DIRECTORY
    _content=$(cat)
    if [ -s "$1/end.room" ] && printf '%s\n' "$_content" | dd of="$1/end.room" conv=notrunc 2>/dev/null; then
        sync "$1/end.room" 2>/dev/null || sync
        mv -f "$1/end.room" "$1/end"
    fi
    [ -s "$1/end" ] || printf '%s\n' "$_content" | put_durably "$1/end"
    # Whoever asks needs some room too.
    rm -f "$1/reserve"
    sync "$1" 2>/dev/null || sync
}

# Keep room on the disk for what has to be written when it is full: nothing that a file system could write as less.
keep_room() { # DIRECTORY
    tr '\000' '\n' </dev/zero | head -c 4096 >"$1/end.room" || return
    head -c $RESERVE_BYTES /dev/urandom >"$1/reserve" 2>/dev/null || rm -f "$1/reserve"
}

give_room_back() { [ -n "$RUN" ] && [ -e "$RUN/reserve" ] && rm -f "$RUN/reserve"; }

# Begin a step in a directory that this call has just made: context from standard input.
begin_step() { # DIRECTORY LABEL IDENTIFIER ATTEMPT
    # What is only half written down would be another update than the one that was asked for.
    if ! {
        printf '%s %s\n' "$(boot_id)" "$(uptime_s)" >"$1/since" && cat >"$1/context" &&
            printf '%s\n' "$2" >"$1/label" && printf '%s\n' "$3" >"$1/identifier" &&
            printf '%s\n' "$4" >"$1/attempt" && : >"$1/log" && keep_room "$1" && sync && : | put_durably "$1/request"
    } 2>/dev/null || [ ! -s "$1/identifier" ] || [ ! -s "$1/since" ]; then
        rm -rf "$1"
        refuse "It cannot begin: the guest's disk is full, or can only be read."
    fi
    detach "$1"
}

# Start the worker of a step where neither the end nor a restart of qemu-guest-agent reaches it.
detach() {
    _unit="innkeeper-update-$(printf '%s' "$1" | sha256sum | cut -c 1-16)"
    if has_systemd && has systemd-run; then
        # What systemd-run starts is no child of the agent's; older ones do not know all of these words.
        systemd-run --quiet --collect --unit="$_unit" -p TimeoutStopSec=900 -- /bin/sh "$SELF" work "$1" >/dev/null 2>&1 </dev/null && return
        systemd-run --unit="$_unit" -- /bin/sh "$SELF" work "$1" >/dev/null 2>&1 </dev/null && return
    fi
    _apart=
    has setsid && _apart=setsid
    (
        trap '' HUP
        # Out of the agent's control group, where there is one.
        for _group in "$R/sys/fs/cgroup" "$R/sys/fs/cgroup/unified"; do
            [ -e "$_group/cgroup.procs" ] || continue
            mkdir -p "$_group/innkeeper" 2>/dev/null && echo 0 >"$_group/innkeeper/cgroup.procs"
        done 2>/dev/null
        exec $_apart /bin/sh "$SELF" work "$1"
    ) >/dev/null 2>&1 </dev/null &
}

# What the worker notes

# The guest is about to be changed: on the disk before it is.
acting() {
    [ -z "$RUN" ] || [ -e "$RUN/acting" ] || : | put_durably "$RUN/acting" || fail "The guest's disk is full, or can only be read."
}

# The present step: a status' number, percent or null, words.
note_state() {
    [ -n "$RUN" ] || return 0
    printf '%s\n%s\n%s\n' "$1" "$2" "$3" | put "$RUN/state"
    STATUS=$1
}

note_progress() { # PERCENT TEXT
    [ "$1 $2" = "${_progress:-}" ] && return
    _progress="$1 $2"
    note_state "$STATUS" "$1" "$2"
}

say() {
    [ -n "$RUN" ] || return 0
    printf '%s\n' "$1" | cat 2>/dev/null >>"$RUN/log" || { give_room_back && printf '%s\n' "$1" >>"$RUN/log"; }
    return 0
}

must_stop() { [ -n "$RUN" ] && [ -e "$RUN/cancel" ]; }

# Programs

# Run a program to its end; what it prints goes to $T/out and, as it comes, to the log. Sets CODE.
#
# It writes into a file: a daemon that it leaves behind may keep that open for ever.
run() {
    : >"$T/out"
    : >"$T/status"
    _seen=0
    if has setsid; then
        setsid "$@" </dev/null >>"$T/out" 2>&1 3>>"$T/status" &
    else
        "$@" </dev/null >>"$T/out" 2>&1 3>>"$T/status" &
    fi
    _child=$!
    _stopped=
    while kill -0 "$_child" 2>/dev/null; do
        glance
        follow
        if [ -n "$MAY_STOP" ] && [ -z "$_stopped" ] && must_stop; then
            _stopped=1
            kill -TERM "-$_child" 2>/dev/null || kill -TERM "$_child" 2>/dev/null
        fi
    done
    wait "$_child"
    CODE=$?
    follow
    follow # what found no room at first
    if [ -n "$_stopped" ] && [ "$CODE" != 0 ]; then
        fail "It was stopped at the host's request."
    fi
}
MAY_STOP=
# Set where what a program prints is read by nobody but us.
UNHEARD=

# Pass on what has been printed since the last time.
follow() {
    [ -n "$RUN" ] && [ -z "$UNHEARD" ] || return 0
    _size=$(wc -c <"$T/out")
    if [ "$_size" -gt "$_seen" ]; then
        _log=$(wc -c <"$RUN/log")
        if [ "$_log" -lt $MAX_LOG_BYTES ]; then
            # Progress bars end their lines with a carriage return.
            _more=$((_size - _seen))
            [ $_more -le $MAX_LOG_BYTES ] || _more=$MAX_LOG_BYTES
            tail -c "+$((_seen + 1))" "$T/out" | head -c $_more | tr '\r\000' '\n ' 2>/dev/null >>"$RUN/log" || give_room_back
            # What found no room comes with the next.
            _seen=$((_seen + $(wc -c <"$RUN/log") - _log))
        else
            if [ ! -e "$RUN/log.full" ]; then
                : >"$RUN/log.full"
                printf '\n(the rest is not passed on)\n' >>"$RUN/log"
            fi
            _seen=$_size
        fi
        [ "$_size" -le $MAX_OUT_BYTES ] || cut_out
    fi
    watch_progress
}

# Keep the end of what a program has printed, which goes on behind it: no guest has room for all that one may print.
cut_out() {
    [ ! -e "$RUN/acting" ] || ACTED=1
    # Nothing is to come between the look and the cut.
    kill -STOP "-$_child" 2>/dev/null || kill -STOP "$_child" 2>/dev/null
    tail -c $LEFT_OUT_BYTES "$T/out" >"$T/out.left"
    cat "$T/out.left" >"$T/out"
    kill -CONT "-$_child" 2>/dev/null || kill -CONT "$_child" 2>/dev/null
    rm -f "$T/out.left"
    _seen=$(wc -c <"$T/out")
}

# Run a program and keep what it prints in $T/asked; sets CODE. 124 where it takes longer than so many seconds.
ask() {
    _limit=$1
    shift
    within "$_limit" "$@" >"$T/asked" 2>&1 </dev/null
    CODE=$?
}

expect() { # WHAT: fail where the last program did
    [ "$CODE" = 0 ] || fail "$1 failed (exit code $CODE): $(cause "$T/out")"
}

expect_asked() {
    [ "$CODE" = 0 ] || fail "$1 failed (exit code $CODE): $(cause "$T/asked")"
}

# What of an update's progress can be read while a program runs; package managers that can put theirs in.
watch_progress() { :; }
