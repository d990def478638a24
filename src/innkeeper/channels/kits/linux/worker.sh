# The worker: does one step of an update, detached from whoever asked for it.

find_backend() {
    BACKEND=scripts
    # A test says it, for it shares the programs of its computer with its guests.
    if [ -n "${INNKEEPER_BACKEND:-}" ]; then BACKEND=$INNKEEPER_BACKEND
    elif has apt-get; then BACKEND=apt
    elif has dnf; then BACKEND=dnf
    elif has yum; then BACKEND=yum
    elif has zypper; then BACKEND=zypper
    elif has pacman; then BACKEND=pacman
    elif has apk; then BACKEND=apk
    fi
}

# What a package manager's part may leave out.
scripts_look() { fail "Not looked for updates: this guest has no package manager that its kit knows (apt, dnf, yum, zypper, pacman, apk)."; }
scripts_installed() { :; }
scripts_complaints() { :; }
scripts_needs_reboot() { [ -n "${SCRIPT_ASKED:-}" ]; }

# The executables of update.d, sorted by name; the booking is in their environment.
scripts_update() {
    note_state 1 null "Looking for scripts"
    INNKEEPER_LABEL=$(line_of "$RUN/label") INNKEEPER_IDENTIFIER=$(line_of "$RUN/identifier")
    INNKEEPER_CONTEXT_FILE="$RUN/context" INNKEEPER_CONTEXT=$(head -c 16384 "$RUN/context" | tr -d '\000')
    export INNKEEPER_LABEL INNKEEPER_IDENTIFIER INNKEEPER_CONTEXT_FILE INNKEEPER_CONTEXT
    _any=
    for _script in "$R/etc/innkeeper/agent/update.d"/*; do
        [ -f "$_script" ] && [ -x "$_script" ] || continue
        _any=1 ACTED=1 MAY_STOP=1
        acting
        note_state 3 null "Running ${_script##*/}"
        run "$_script"
        MAY_STOP=
        [ "$CODE" = 102 ] && SCRIPT_ASKED=1
        case $CODE in
        0 | 102) ;;
        *) fail "${_script##*/} failed (exit code $CODE): $(cause "$T/out")" ;;
        esac
    done
    [ -n "$_any" ] || fail "Not looked for updates: this guest has no package manager that its kit knows (apt, dnf, yum, zypper, pacman, apk), and no script in /etc/innkeeper/agent/update.d."
}

has_begun() { case $BACKEND in scripts) return 1 ;; *) "${BACKEND}_has_begun" ;; esac; }
watch_progress() { case $BACKEND in scripts) ;; *) "${BACKEND}_progress" ;; esac; }

# Of the packages that are named, those that are installed: a package manager takes other words for patterns, files,
# groups or what it is to do with them. Sets NONE where none is left: no name at all would be every package.
keep_installed() {
    NONE=
    : >"$T/absent"
    case $BACKEND in scripts | pacman) return ;; esac
    [ -n "$NAMES" ] || return 0
    "${BACKEND}_installed" >"$T/installed"
    [ -s "$T/installed" ] || fail "The installed packages cannot be read, so that none of those that are named was looked for."
    awk -F '\t' -v names="$NAMES" -v backend="$BACKEND" -v absent="$T/absent" '
        { known[$1] = 1; if (backend ~ /^(dnf|yum|zypper)$/) { sub(/\.[^.]*$/, "", $1); known[$1] = 1 } else { sub(/:.*/, "", $1); known[$1] = 1 } }
        END {
            count = split(names, name, " ")
            for (i = 1; i <= count; i++) {
                bare = name[i]
                if (backend == "apt") sub(/:[a-z0-9-]*$/, "", bare)
                if (bare in known) print name[i]; else print name[i] > absent
            }
        }' "$T/installed" >"$T/names"
    NAMES=$(awk '{ printf " %s", $0 }' "$T/names")
    [ -n "$NAMES" ] || NONE=1
}

# Lines of name and version, a package in several versions once.
installed() {
    "${BACKEND}_installed" | sort -u | awk -F '\t' '
        $1 == name { version = version ", " $2; next }
        { if (name != "") print name "\t" version; name = $1; version = $2 }
        END { if (name != "") print name "\t" version }'
}

# Keep the timers of the guest's own package managers from running beside an update: a guest that was off for a
# while runs those that it missed at boot. They are noted before they are stopped, and started again at the end,
# by whoever settles a worker that is gone, or by the next boot.
QUIET="apt-daily apt-daily-upgrade dnf-automatic dnf-automatic-download dnf-automatic-install dnf-automatic-notifyonly dnf5-automatic dnf-makecache dnf5-makecache packagekit-background transactional-update os-update zypp-refresh pacman-filesdb-refresh"

be_quiet() {
    has_systemd && has systemctl || return 0
    active_of timer | put "$RUN/stopped"
    [ -s "$RUN/stopped" ] && systemctl stop $(cat "$RUN/stopped") >/dev/null 2>&1
    # It keeps its locks while it has nothing to do, and ends then where it is asked to; the bus starts it again.
    if systemctl is-active -q packagekit.service 2>/dev/null && has busctl; then
        ask 30 busctl call org.freedesktop.PackageKit /org/freedesktop/PackageKit org.freedesktop.PackageKit SuggestDaemonQuit
    fi
    _until=$(($(now_s) + 600))
    while [ "$(now_s)" -lt $_until ]; do
        _running=$(active_of service | tr '\n' ' ')
        [ -n "$_running" ] || break
        must_stop && fail "It was stopped at the host's request."
        say "Waiting for $_running"
        sleep 2
    done
}

# Those of them that are active.
active_of() { # KIND
    _units=$(printf "%s.$1 " $QUIET)
    systemctl is-active $_units 2>/dev/null | awk -v units="$_units" '
        BEGIN { split(units, unit, " ") }
        /^(active|activating|reloading)$/ { print unit[NR] }'
}

# What differs between two of these, as name, old, new.
changes() {
    awk -F '\t' '
        FILENAME == ARGV[1] { old[$1] = $2; next }
        { if (!($1 in old)) print $1 "\t\t" $2; else if (old[$1] != $2) print $1 "\t" old[$1] "\t" $2; new[$1] = 1 }
        END { for (name in old) if (!(name in new)) print name "\t" old[name] "\t" }' "$1" "$2" | sort
}

count_of() {
    _count=$(awk 'END { print NR }' "$1")
    printf '%s package%s' "$_count" "$([ "$_count" = 1 ] || printf s)"
}

# The first names of lines, in a sentence.
names_of() {
    awk -F '\t' '
        NR <= 10 { out = out (NR > 1 ? ", " : "") $1 }
        END { printf "%s%s", out, (NR > 10 ? " and " NR - 10 " more" : "") }' "$1"
}

left() {
    [ -s "$T/held" ] && printf '; held back: %s' "$(names_of "$T/held")"
    [ -s "$T/absent" ] && printf '; not installed: %s' "$(names_of "$T/absent")"
    [ -s "$T/unseen" ] && printf '; not looked at: %s' "$(awk '{ printf "%s%s", sep, $0; sep = "; " }' "$T/unseen")"
}

# Three answers that are not the same: nothing to do, held back, and not looked.
summary() {
    if [ -s "$1" ]; then printf '%s changed' "$(count_of "$1")"
    elif [ -s "$T/held" ] || [ -s "$T/unseen" ] || [ -s "$T/absent" ]; then printf 'Nothing was updated'
    else printf 'Nothing had to be updated'; fi
    left
}

is_marked() { [ -e "$R/run/reboot-required" ] || [ -e "$R/run/reboot-needed" ]; }

wants_reboot() {
    case $REBOOT in
    always) return 0 ;;
    never) return 1 ;;
    esac
    "${BACKEND}_needs_reboot" || is_marked
}

# Note how the step ended; nothing follows.
finish() { # END UNCHANGED TEXT
    start_again "$RUN"
    printf '%s\n%s\n%s\n' "$1" "$2" "$(printf '%s' "$3" | tr '\n\t' '  ' | cut -c 1-2000)" | put_end "$RUN"
    leave_turn
    exit 0
}

# Updates take turns, whichever kit and whichever host has begun them: a second one would find its own undo point
# in the middle of the first. The turn is a link to what names the worker.
take_turn() {
    _give_up=$(($(now_s) + LOCK_WAIT_S))
    _told=
    until has_turn; do
        must_stop && fail "It was stopped at the host's request."
        [ "$(now_s)" -lt $_give_up ] || fail "Another update of this guest is at work, and was waited for in vain."
        [ -n "$_told" ] || say "Waiting for another update of this guest"
        _told=1
        glance
    done
}

has_turn() {
    if ! ln "$RUN/pid" "$STATE/turn" 2>/dev/null; then
        [ "$(cat "$STATE/turn" 2>/dev/null)" = "$(cat "$RUN/pid")" ] || {
            is_alive "$STATE/turn" || free_turn
            return 1
        }
    fi
    # Kits of former releases take no turn.
    for _step in "$STATE/updates"/*/prepare "$STATE/updates"/*/update; do
        if [ "$_step" != "$RUN" ] && [ ! -e "$_step/queued" ] && is_held "$_step"; then return 1; fi
    done
}

# Take the turn from a worker that is gone; of two who do so, the second may have the first one's in its hand.
free_turn() {
    mv -f "$STATE/turn" "$STATE/turn.$$" 2>/dev/null || return 0
    if is_alive "$STATE/turn.$$"; then ln "$STATE/turn.$$" "$STATE/turn" 2>/dev/null; fi
    rm -f "$STATE/turn.$$"
}

leave_turn() {
    if [ "$(cat "$STATE/turn" 2>/dev/null)" = "$(cat "$RUN/pid")" ]; then rm -f "$STATE/turn"; fi
}

# The step has failed, with a sentence for a person; in a question, that is its answer.
fail() {
    [ -n "$RUN" ] || refuse "$1"
    trap - TERM
    _sentence=$1$(shortage "$1")$(killed_since "$RUN")
    note_changes
    if [ -n "$ACTED" ]; then _unchanged=false; else _unchanged=true; fi
    finish failed $_unchanged "$_sentence"
}

# What the update has changed so far.
note_changes() {
    [ -e "$T/before" ] || return 0
    # Half a list would be packages that were removed.
    case $T in "$STATE"/*) give_room_back ;; esac
    installed >"$T/after"
    changes "$T/before" "$T/after" >"$T/changed"
    [ -s "$T/changed" ] && ACTED=1
    put "$RUN/packages" <"$T/changed"
    return 0
}

work() {
    RUN=$1
    [ -e "$RUN/request" ] || exit 1
    scratch
    cd / || exit 1
    ACTED= STATUS=1 IS_PREPARED= MUST_REPAIR= BACKEND=
    # There is one worker, whoever starts a second.
    mkdir "$RUN/worker" 2>/dev/null || exit 0
    : >"$RUN/queued"
    # Who cannot be told from the dead must not begin; nor who was given up meanwhile.
    printf '%s %s %s\n' "$$" "$(start_time $$)" "$(boot_id)" | put "$RUN/pid" || fail "It cannot begin: the guest's disk is full, or can only be read."
    [ ! -s "$RUN/end" ] || exit 0
    : >"$T/held"
    : >"$T/unseen"
    find_backend
    # The guest goes down, or somebody stops the unit.
    trap '[ -e "$RUN/acting" ] && ACTED=1; fail "It was stopped in the middle of it."' TERM
    take_context "$RUN/context" || fail "$WHY"
    take_turn
    case ${RUN##*/} in
    prepare) work_prepare ;;
    *) work_update ;;
    esac
}

# Do all that needs no undo point, and say whether there is anything to do under one.
work_prepare() {
    keep_installed
    [ -n "$NONE" ] || "${BACKEND}_prepare"
    [ -s "$T/planned" ] && head -n 200 "$T/planned" | put "$RUN/packages"
    if [ -n "$MUST_REPAIR" ]; then
        finish ready false "The package database has to be repaired first."
    elif [ -s "$T/planned" ]; then
        finish ready false "Downloaded: $(names_of "$T/planned")$(left)."
    elif wants_reboot; then
        finish ready false "$(summary /dev/null); a reboot is due."
    else
        finish nothing false "$(summary /dev/null)."
    fi
}

work_update() {
    _ready=
    [ -r "${RUN%/*}/prepare/end" ] && read -r _ready <"${RUN%/*}/prepare/end"
    [ "$_ready" = ready ] && IS_PREPARED=1
    "${BACKEND}_complaints" >"$T/complaints"
    installed >"$T/before"
    keep_installed
    be_quiet
    [ -n "$NONE" ] || "${BACKEND}_update"
    note_changes
    "${BACKEND}_complaints" | awk 'FILENAME == ARGV[1] { old[$0] = 1; next } !($0 in old)' "$T/complaints" - >"$T/worse"
    if [ -s "$T/worse" ]; then
        _more=$(awk 'END { if (NR > 1) print " (and " NR - 1 " more)" }' "$T/worse")
        fail "The package database is worse than before: $(head -n 1 "$T/worse")$_more"
    fi
    if wants_reboot; then
        boot_id | put "$STATE/reboot-due"
        finish success false "$(summary "$RUN/packages"); a reboot is due."
    else
        finish success false "$(summary "$RUN/packages")."
    fi
}
