# Package managers that can look and download without changing anything but their caches: dnf, yum, zypper,
# pacman, apk. Each looks, downloads and applies; what they share is here.

stepped_fetch() {
    note_state 1 null "Looking for updates"
    "${BACKEND}_look"
    if [ -s "$T/planned" ]; then
        note_state 2 0 "Downloading $(count_of "$T/planned")"
        "${BACKEND}_download"
    fi
}

stepped_update() {
    stepped_fetch
    [ -s "$T/planned" ] || return 0
    note_state 3 40 "Applying $(count_of "$T/planned")"
    APPLIED=1
    "${BACKEND}_apply"
}

# Take those of the named packages away that are in the last of these files, and in none of the first.
leave_locked() { # PLANNED LOCKED
    [ -n "$NAMES" ] || return 0
    NAMES=$(printf '%s\n' $NAMES | awk -F '\t' '
        FILENAME == ARGV[1] { planned[$1] = 1; next }
        FILENAME == ARGV[2] { locked[$1] = 1; next }
        (($1 in locked) && !($1 in planned)) || $1 == "" { next }
        { printf " %s", $1 }' "$1" "$2" -)
    # Without a name it would be an update of everything.
    [ -n "$NAMES" ] || : >"$1"
}

# Run what may be stopped, as it changes nothing.
run_stoppable() {
    MAY_STOP=1
    run_past_locks "$@"
    MAY_STOP=
}

# Run what changes packages; it is past stopping. A line of this form tells that it has begun.
run_applying() { # PATTERN PROGRAM…
    ACTS=$1
    shift
    installed >"$T/applying"
    acting
    run_past_locks "$@"
    grep -q -E "$ACTS" "$T/out" && ACTED=1
    ACTS=
    return 0
}
ACTS=

# rpm takes its lock after zypper has said that it begins.
stepped_has_begun() {
    [ -n "$ACTS" ] && grep -q -E "$ACTS" "$T/out" || return 1
    installed >"$T/applied.now"
    ! cmp -s "$T/applying" "$T/applied.now"
}

# Percent from lines like "Upgrading : shop 3/10".
stepped_progress() {
    [ "$STATUS" = 3 ] || return 0
    _found=$(tail -n 5 "$T/out" 2>/dev/null | tr '\r' '\n' | awk '
        match($0, /[0-9]+\/[0-9]+/) {
            split(substr($0, RSTART, RLENGTH), n, "/")
            if (n[1] + 0 > 0 && n[1] + 0 <= n[2] + 0) { gsub(/^[ \t]+|[ \t]+$/, ""); found = int(40 + n[1] / n[2] * 59) " " $0 }
        }
        END { print found }')
    [ -n "$_found" ] && note_progress "${_found%% *}" "${_found#* }"
    return 0
}

# Whether the core of the system was updated: what wants a reboot where no program of the guest's says so.
stepped_has_core() {
    [ -n "${APPLIED:-}" ] && cut -f 1 "$T/planned" | grep -q -E "^($1)\$"
}

rpm_installed() {
    "$(path_of rpm)" -qa --qf '%{NAME}.%{ARCH}\t%{VERSION}-%{RELEASE}\n' 2>/dev/null | awk -F '\t' 'NF == 2 && $2 != ""'
}

rpm_complaints() {
    ask 120 "$(path_of rpm)" -qa
    [ "$CODE" = 0 ] || printf 'rpm cannot read its database: %s\n' "$(cause "$T/asked")"
}
