# zypper: SUSE and its kin. Exit codes that are no plain success and no failure: 102 a reboot is needed, 103 run
# it again, 106 a repository was skipped; 107 a script failed.

ZYPPER="zypper --non-interactive"
ZYPPER_UPDATE="update --auto-agree-with-licenses"

zypper_look() {
    : >"$T/planned"
    if [ -z "$IS_PREPARED" ]; then
        run_stoppable $ZYPPER refresh
        if [ "$CODE" != 0 ]; then
            zypper_unread >>"$T/unseen"
            # 4: repositories could not be read, some or all.
            if [ "$CODE" != 4 ] || grep -q -i 'Could not refresh the repositories' "$T/out"; then
                _why=$(awk '{ printf "%s%s", sep, $0; sep = "; " }' "$T/unseen")
                fail "Not looked for updates: ${_why:-$(cause "$T/out")}"
            fi
        fi
    fi
    # Its words for people have the names that are left out, its XML the versions.
    run_stoppable $ZYPPER $ZYPPER_UPDATE --dry-run $NAMES
    : >"$T/locked"
    # 4: what is named cannot be had, or is locked.
    if [ "$CODE" = 4 ] && [ -n "$NAMES" ]; then
        zypper_leave_locked
        if [ -z "$NAMES" ]; then
            sed 's/$/ (locked)/' "$T/locked" >"$T/held"
            return
        fi
        run_stoppable $ZYPPER $ZYPPER_UPDATE --dry-run $NAMES
    fi
    zypper_expect "zypper update --dry-run"
    if [ "$CODE" = 106 ] && [ ! -s "$T/unseen" ]; then zypper_unread >"$T/unseen"; fi
    { sed 's/$/ (locked)/' "$T/locked" && zypper_left_out; } >"$T/held"
    grep -q -x 'Nothing to do\.' "$T/out" && return 0
    cp "$T/out" "$T/words"
    UNHEARD=1
    run_stoppable zypper --xmlout --non-interactive $ZYPPER_UPDATE --dry-run $NAMES
    UNHEARD=
    zypper_plan >"$T/planned"
    [ -s "$T/planned" ] || fail "zypper's plan cannot be read: $(cause "$T/words")"
}

# Take the names away whose update is locked: of all updates it leaves those out.
zypper_leave_locked() {
    run_stoppable $ZYPPER $ZYPPER_UPDATE --dry-run
    zypper_left_out | sed -n 's/ (locked)$//p' >"$T/all.locked"
    printf '%s\n' $NAMES | awk 'FILENAME == ARGV[1] { locked[$1] = 1; next } $1 in locked' "$T/all.locked" - >"$T/locked"
    leave_locked /dev/null "$T/locked"
}

zypper_expect() {
    case $CODE in
    0 | 102 | 103 | 106) ;;
    107) fail "$1 installed the packages, but a package's script failed: $(cause "$T/out")" ;;
    *) fail "$1 failed (exit code $CODE): $(cause "$T/out")" ;;
    esac
}

# Each repository that was skipped, with why.
zypper_unread() {
    : >"$T/block"
    while IFS= read -r _line || [ -n "$_line" ]; do
        case $_line in
        *"Skipping repository '"*)
            _name=${_line#*"Skipping repository '"}
            printf '%s (%s)\n' "${_name%%\'*}" "$(cause "$T/block")"
            : >"$T/block"
            ;;
        "Retrieving repository"* | "Building repository"*) : >"$T/block" ;;
        *) printf '%s\n' "$_line" >>"$T/block" ;;
        esac
    done <"$T/out"
}

# What has a newer version and is not installed, and whether a lock is why.
zypper_left_out() {
    awk '
        /^The following ([0-9]+ )?items? (is|are) locked/ { list = 1; next }
        /^The following ([0-9]+ )?package updates? will NOT be installed/ { list = 2; next }
        /^ / {
            for (i = 1; i <= NF; i++) {
                if ($i ~ /:$/) continue
                if (list == 1) locked[$i] = 1
                if (list == 2 && !($i in seen)) { seen[$i] = 1; name[++count] = $i }
            }
            next
        }
        { list = 0 }
        END { for (i = 1; i <= count; i++) print name[i] " (" (name[i] in locked ? "locked" : "its dependencies are not met") ")" }' "$T/out"
}

# Name, former and new version of what the XML of a simulation would change.
zypper_plan() {
    awk '
        function attribute(name,  value) {
            if (!match($0, "[ \t]" name "=\"[^\"]*\"")) return ""
            value = substr($0, RSTART + length(name) + 3, RLENGTH - length(name) - 4)
            gsub(/&lt;/, "<", value); gsub(/&gt;/, ">", value); gsub(/&quot;/, "\"", value); gsub(/&amp;/, "\\&", value)
            return value
        }
        BEGIN { RS = "<" }
        /^to-[a-z-]+>/ { kind = $0; sub(/>.*/, "", kind); next }
        /^\/to-/ { kind = ""; next }
        kind != "" && /^solvable type="package"/ {
            if (kind == "to-remove") print attribute("name") "\t" attribute("edition") "\t"
            else print attribute("name") "\t" attribute("edition-old") "\t" attribute("edition")
        }' "$T/out"
}

zypper_download() {
    run_stoppable $ZYPPER $ZYPPER_UPDATE --download-only $NAMES
    zypper_expect "The download"
    # Files of two owners are found in what is downloaded alone.
    run_stoppable $ZYPPER $ZYPPER_UPDATE --dry-run $NAMES
    zypper_expect "The test of the download"
    expect_room "$T/out"
}

zypper_apply() {
    : >"$T/said"
    # It asks to be run again after it has updated itself; more than this is a loop.
    for _round in 1 2 3; do
        run_applying '^\([[:space:]]*[0-9]+/[0-9]+\) [A-Za-z0-9_]' $ZYPPER $ZYPPER_UPDATE $NAMES
        cat "$T/out" >>"$T/said"
        [ "$CODE" = 102 ] && ZYPPER_ASKED=1
        [ "$CODE" = 103 ] || break
    done
    [ "$CODE" != 103 ] || fail "zypper asks for another run for ever (exit code 103)"
    zypper_expect "zypper update"
    # It ends with 0 all the same, or asks for another run, which knows nothing of the first.
    if grep -q -i -e '%posttrans script failed' -e 'scriptlet failed, exit status' "$T/said"; then
        fail "zypper installed the packages, but a package's script failed: $(cause "$T/said")"
    fi
}

zypper_prepare() { stepped_fetch; }
zypper_update() { stepped_update; }
zypper_has_begun() { stepped_has_begun; }
zypper_progress() { stepped_progress; }
zypper_installed() { rpm_installed; }
zypper_complaints() { rpm_complaints; }

zypper_needs_reboot() {
    [ -n "${ZYPPER_ASKED:-}" ] && return 0
    ask 60 $ZYPPER needs-rebooting
    [ "$CODE" = 102 ]
}
