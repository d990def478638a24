# apt: Debian, Ubuntu and their kin.

# Wait for another apt instead of failing; keep the administrator's changed configuration files.
APT_OPTIONS="-q -y -o DPkg::Lock::Timeout=600 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold -o Dpkg::Use-Pty=0"
APT_STATUS="-o APT::Status-Fd=3"

apt_what() {
    if [ -n "$NAMES$ON_HOLD" ]; then printf '%s' "--only-upgrade install -- $NAMES"; else printf '%s' "--with-new-pkgs upgrade"; fi
}

# Of the packages that are named, one on hold would stop all: it is left out.
ON_HOLD=
apt_leave_held() {
    [ -n "$NAMES" ] || return 0
    ask 60 apt-mark showhold
    cp "$T/asked" "$T/hold"
    ON_HOLD=$(printf '%s\n' $NAMES | awk -v is_held=1 "$AWK_HELD" "$T/hold" -)
    [ -n "$ON_HOLD" ] || return 0
    NAMES=$(printf '%s\n' $NAMES | awk -v is_held=0 "$AWK_HELD" "$T/hold" -)
    apt_simulate upgrade
    apt_names "The following packages have been kept back:" "$T/plan" >"$T/kept"
    printf '%s\n' $ON_HOLD | awk -v is_held=1 "$AWK_HELD" "$T/kept" - | sed 's/$/ (on hold)/' >"$T/on_hold"
}

# Of names, those that are in a list, there perhaps without their architecture; or those that are not.
AWK_HELD='
FILENAME == ARGV[1] { held[$1] = 1; next }
{ bare = $1; sub(/:.*/, "", bare); if ((($1 in held) || (bare in held)) == is_held) print $1 }
'

apt_prepare() {
    note_state 1 null "Looking for updates"
    apt_refresh
    apt_leave_held
    _what=$(apt_what)
    apt_simulate $_what
    if apt_was_interrupted || { apt_is_broken && apt_can_mend; }; then
        MUST_REPAIR=1
        return
    fi
    apt_simulate $_what
    apt_read_plan
    [ -s "$T/planned" ] && apt_download
    return 0
}

apt_look() {
    apt_refresh
    apt_leave_held
    apt_simulate $(apt_what)
    apt_read_plan
}

apt_update() {
    note_state 1 null "Looking for updates"
    apt_complaints >"$T/troubled.lines"
    sed 's/:.*//' "$T/troubled.lines" | sort -u >"$T/troubled"
    apt_repair
    _repaired=$CODE
    cp "$T/out" "$T/repair"
    [ -n "$IS_PREPARED" ] || apt_refresh
    apt_leave_held
    _what=$(apt_what)
    apt_simulate $_what
    if apt_is_broken && apt_can_mend; then
        say "Installing what installed packages lack"
        ACTED=1
        acting
        run_past_locks apt-get $APT_OPTIONS $APT_STATUS -f install
        expect "apt-get -f install"
        apt_simulate $_what
    else
        CODE=$_repaired
        apt_expect "$T/repair" "dpkg --configure -a"
        apt_simulate $_what
    fi
    apt_read_plan
    if [ -s "$T/planned" ]; then
        apt_download
        apt_apply
    fi
    [ -s "$T/still" ] && sort -u "$T/still" | sed 's/$/ (not configured, as before the update)/' >>"$T/held"
    return 0
}

# Finish what was interrupted: a dpkg in the middle of its work refuses everything else.
apt_repair() {
    if apt_was_interrupted || [ -s "$T/troubled" ]; then
        ACTED=1
        acting
    fi
    run_past_locks "$(path_of dpkg)" --status-fd 3 --force-confdef --force-confold --configure -a
}

# Fail where dpkg failed, but for packages that it could not configure before either.
apt_expect() { # OUTPUT WHAT
    [ "$CODE" = 0 ] && return
    awk '
        /^Errors were encountered while processing:/ { list = 1; next }
        list && /^ / { sub(/^ +/, ""); sub(/:.*/, ""); print; next }
        { list = 0 }' "$1" | sort -u >"$T/failed"
    if [ ! -s "$T/failed" ] || ! all_in "$T/failed" "$T/troubled"; then
        fail "$2 failed (exit code $CODE): $(cause "$1")"
    fi
    cat "$T/failed" >>"$T/still"
}

# Whether each line of one file is in another.
all_in() { awk 'NR == FNR { known[$0] = 1; next } !($0 in known) { exit 1 }' "$2" "$1" && [ -s "$2" ]; }

apt_simulate() {
    ask 600 apt-get $APT_OPTIONS -s "$@"
    cp "$T/asked" "$T/plan"
    PLAN_CODE=$CODE
}

# A plan ends so where installed packages lack what they depend on.
apt_is_broken() { grep -q -e '--fix-broken' -e '-f install' -e 'Unmet dependencies' "$T/plan"; }

apt_was_interrupted() {
    for _name in "$R/var/lib/dpkg/updates"/[0-9]*; do
        [ -e "$_name" ] && return 0
    done
    return 1
}

# Whether apt can install what is lacking; fails where it would remove packages.
apt_can_mend() {
    apt_simulate -f install
    _removed=$(awk '/^Remv / { printf "%s%s", sep, $2; sep = ", " }' "$T/plan")
    if [ -n "$_removed" ]; then
        apt_simulate upgrade
        fail "Installed packages lack what they depend on, and apt would remove $_removed to mend that (apt-get -f install): $(cause "$T/plan")"
    fi
    [ "$PLAN_CODE" = 0 ] && grep -q '^Inst ' "$T/plan"
}

# Lines of "Inst name [old] (new ...)" as name, old, new, and whether from a security source.
apt_planned() {
    awk '/^Inst / {
        old = ""
        at = 3
        if ($3 ~ /^\[/) { old = $3; gsub(/[][]/, "", old); at = 4 }
        if ($at !~ /^\(/) next
        new = substr($at, 2)
        sub(/\)$/, "", new)
        rest = $0
        sub(/^[^(]*\([^ ]*/, "", rest)
        sub(/[[)].*/, "", rest)
        printf "%s\t%s\t%s\t%s\n", $2, old, new, (tolower(rest) ~ /security/ ? "true" : "false")
    }' "$1"
}

# Read from a simulation what would be changed, and what is left as it is.
apt_read_plan() {
    [ "$PLAN_CODE" = 0 ] || fail "apt-get -s failed (exit code $PLAN_CODE): $(cause "$T/plan")"
    apt_planned "$T/plan" >"$T/planned.all"
    cut -f 1-3 "$T/planned.all" >"$T/planned"
    cut -f 4 "$T/planned.all" >"$T/security"
    if [ -e "$T/on_hold" ]; then cp "$T/on_hold" "$T/held"; else : >"$T/held"; fi
    apt_names "The following upgrades have been deferred due to phasing:" "$T/plan" | sed 's/$/ (phased: not yet for this machine)/' >"$T/phased.lines"
    apt_names "The following packages have been kept back:" "$T/plan" >"$T/kept"
    if [ -s "$T/kept" ]; then
        ask 60 apt-mark showhold
        sort -u "$T/asked" >"$T/hold"
        ask 60 apt-cache policy $(cat "$T/kept")
        apt_phased "$T/asked" >"$T/phased"
        cp "$T/plan" "$T/plan.kept"
        apt_simulate dist-upgrade
        awk '/^Inst / { print $2 }' "$T/plan" >"$T/removing"
        mv "$T/plan.kept" "$T/plan"
        PLAN_CODE=0
        while read -r _name; do
            if grep -q -x -F -e "$_name" "$T/hold"; then _why="on hold"
            elif grep -q -x -F -e "$_name" "$T/phased"; then _why="phased: not yet for this machine"
            elif grep -q -x -F -e "$_name" "$T/removing"; then _why="others would have to be removed"
            else _why="its dependencies are not met"; fi
            printf '%s (%s)\n' "$_name" "$_why"
        done <"$T/kept" >>"$T/held"
    fi
    cat "$T/phased.lines" >>"$T/held"
}

# The names below a heading of apt's plan.
apt_names() {
    awk -v heading="$1" '
        index($0, heading) == 1 { list = 1; next }
        list && /^  / { for (i = 1; i <= NF; i++) print $i; next }
        { list = 0 }' "$2"
}

# Packages whose candidates are not for every machine yet, from apt-cache policy.
apt_phased() {
    awk '
        /^[^ ]/ { name = $1; sub(/:$/, "", name); candidate = ""; next }
        /^  Candidate:/ { candidate = $NF; next }
        { gsub(/\*\*\*/, ""); if ($1 == candidate) for (i = 2; i <= NF; i++) if ($i == "(phased") print name }' "$1"
}

# Read the sources anew; one that cannot be read is named, and all of them are a failure.
apt_refresh() {
    ask 120 apt-get -q --print-uris update
    expect_asked "Not looked for updates: apt-get --print-uris update"
    grep -q "^'[^ ]*:" "$T/asked" || fail "Not looked for updates: apt has no package source (/etc/apt/sources.list)."
    MAY_STOP=1
    # Else the exit code is 0 for a source that cannot be reached; an option is no fault in an old apt.
    run_past_locks apt-get $APT_OPTIONS -o APT::Update::Error-Mode=any update
    MAY_STOP=
    [ "$CODE" = 0 ] && return
    if ! apt_reads_any; then
        expect "Not looked for updates: apt-get update"
    fi
    grep -E '^[EW]: (Failed to fetch|The repository|GPG error|Release file for|Repository )' "$T/out" | sed 's/[. ]*$//' | awk '!seen[$0]++' >"$T/unseen"
    [ -s "$T/unseen" ] || cause "$T/out" >"$T/unseen"
}

# Whether any source could be read: one without an error.
apt_reads_any() {
    awk '
        function trimmed(uri) { sub(/\/$/, "", uri); return uri }
        /^(Hit|Get|Ign|Err):[0-9]+ / { files++; uri[files] = $2; suite[files] = $3; if ($1 ~ /^Err/) bad[$2 " " $3] = 1 }
        /^[EW]: The repository \047/ { where = $4; sub(/^\047/, "", where); bad[where " " $5] = 1 }
        /^E: / { errors[++count] = $0 }
        END {
            for (i = 1; i <= files; i++) {
                if ((uri[i] " " suite[i]) in bad) continue
                u = trimmed(uri[i]); s = suite[i]; sub(/\/$/, "", s); named = 0
                for (e = 1; e <= count; e++)
                    if (index(errors[e], u " " suite[i] " ") || index(errors[e], u "/ " suite[i] " ") || index(errors[e], u "/dists/" suite[i] "/") || index(errors[e], u "/" s "/")) named = 1
                if (!named) { good = 1; break }
            }
            exit !good
        }' "$T/out"
}

apt_download() {
    note_state 2 0 "Downloading $(count_of "$T/planned")"
    MAY_STOP=1
    run_past_locks apt-get $APT_OPTIONS $APT_STATUS -d $(apt_what)
    MAY_STOP=
    expect "The download"
    expect_room "$T/out"
}

apt_apply() {
    note_state 3 40 "Applying $(count_of "$T/planned")"
    acting
    run_past_locks apt-get $APT_OPTIONS $APT_STATUS $(apt_what)
    has_begun && ACTED=1
    [ "$CODE" = 0 ] && return
    cp "$T/out" "$T/applied"
    _code=$CODE
    apt_expect "$T/applied" "apt-get"
    # apt stops behind the first call of dpkg that fails: what is left of the plan is no old trouble.
    apt_repair
    apt_expect "$T/out" "dpkg --configure -a"
    apt_installed | sed 's/:[^:\t]*\t/\t/' >"$T/there"
    if ! awk -F '\t' 'NR == FNR { there[$1 "\t" $2] = 1; next } { sub(/:.*/, "", $1); if (!(($1 "\t" $3) in there)) exit 1 }' "$T/there" "$T/planned"; then
        fail "apt-get failed (exit code $_code): $(cause "$T/applied")"
    fi
}

apt_installed() {
    dpkg-query -W -f '${binary:Package}\t${Version}\t${db:Status-Status}\n' 2>/dev/null |
        awk -F '\t' '$3 != "config-files" && $3 != "not-installed" && $2 != "" { print $1 "\t" $2 }'
}

# What dpkg --audit finds, by package.
apt_complaints() {
    ask 120 "$(path_of dpkg)" --audit
    if [ "$CODE" != 0 ]; then
        printf 'dpkg cannot read its database: %s\n' "$(cause "$T/asked")"
        return
    fi
    awk '
        function block_ends(  i, what) {
            what = sentence
            sub(/[.,:].*/, "", what)
            sub(/^The following packages (are|have been) /, "", what)
            if (what ~ /configured$/) what = "not configured"
            for (i = 1; i <= names; i++) print name[i] ": " what
            sentence = ""; names = 0
        }
        /^$/ { block_ends(); next }
        /^ / { if (NF) name[++names] = $1; next }
        { sentence = sentence (sentence == "" ? "" : " ") $0 }
        END { block_ends() }' "$T/asked"
}

apt_needs_reboot() { return 1; }

apt_has_begun() { grep -q -e '^pm' -e '^status' -e '^processing' "$T/status"; }

# Percent from dlstatus:item:percent:text and pmstatus:package:percent:text.
apt_progress() {
    _last=$(tail -n 1 "$T/status" 2>/dev/null)
    case $_last in
    dlstatus:* | pmstatus:*) ;;
    *) return 0 ;;
    esac
    _part=${_last#*:*:}
    _whole=${_part%%[.:]*}
    case $_whole in '' | *[!0-9]*) return 0 ;; esac
    [ "$_whole" -le 100 ] || return 0
    case $_last in
    dlstatus:*) note_progress $((_whole * 40 / 100)) "${_part#*:}" ;;
    *) note_progress $((40 + _whole * 59 / 100)) "${_part#*:}" ;;
    esac
}
