# dnf 4, dnf 5 as its sources say, and yum 3 where it is no other name of dnf: Fedora, RHEL and their kin.

DNF_WITHOUT=
# What wants a reboot when it is new; the plug-in of dnf has the same list.
DNF_CORE="kernel kernel-core kernel-rt glibc linux-firmware systemd dbus dbus-broker dbus-daemon"

dnf_is_5() {
    [ "$BACKEND" = dnf ] || return 1
    if [ -z "${DNF_5:-}" ]; then
        ask 60 dnf --version
        if grep -q dnf5 "$T/asked"; then DNF_5=yes; else DNF_5=no; fi
    fi
    [ "$DNF_5" = yes ]
}

# The program and its options. Distributions differ: a repository that cannot be read is a failure, and another
# dnf is named; dnf.conf may silence what is read here.
dnf_words() {
    if [ "$BACKEND" = yum ]; then printf 'yum -y --setopt=exit_on_lock=1 --setopt=debuglevel=2'
    else
        printf 'dnf -y --setopt=*.skip_if_unavailable=0 --setopt=exit_on_lock=True'
        dnf_is_5 || printf ' --setopt=debuglevel=2'
    fi
    for _repository in $DNF_WITHOUT; do printf ' --disablerepo=%s' "$_repository"; done
}

# No option of these is a pattern of files.
dnf_run() {
    set -f
    run_stoppable $(dnf_words) "$@" $NAMES
    set +f
}

# Of what it knows no package has to be named.
yum_forget() {
    set -f
    run_stoppable $(dnf_words) clean expire-cache
    set +f
}

dnf_look() {
    dnf_check_update
    dnf_table "$T/out" >"$T/waiting"
    if [ ! -s "$T/waiting" ] && dnf_is_5 && [ -z "$(dnf_repositories)" ]; then
        fail "Not looked for updates: there are no enabled repositories (/etc/yum.repos.d)."
    fi
    rpm_installed >"$T/rpms"
    # name.arch, version → name, former version, version
    awk -F '\t' 'FILENAME == ARGV[1] { old[$1] = $2; next } { bare = $1; sub(/\.[^.]*$/, "", bare); print bare "\t" old[$1] "\t" $2 }' "$T/rpms" "$T/waiting" >"$T/planned"
    dnf_filtered >"$T/held"
    # Of the packages that are named, one that is locked may stop the others.
    sed 's/ (.*//' "$T/held" >"$T/locked"
    leave_locked "$T/planned" "$T/locked"
}

# What waits, in $T/out; a repository that cannot be read is named and left out.
dnf_check_update() {
    _refresh=
    if [ -z "$IS_PREPARED" ]; then
        if [ "$BACKEND" = yum ]; then yum_forget; else _refresh=--refresh; fi
    fi
    while :; do
        dnf_run $_refresh check-update
        case $CODE in 0 | 100) return ;; esac
        _name=$(awk -v quote="'" '
            {
                line = $0
                gsub(quote, "\"", line)
                if (match(line, /metadata.* for repo(sitory)? "[^"]+"/)) { line = substr(line, RSTART, RLENGTH - 1); sub(/^.*"/, "", line); print line; exit }
                if (match(line, /^failure: [^ ]+ from [^: ]+: /)) { line = substr(line, RSTART, RLENGTH - 2); sub(/^.* /, "", line); print line; exit }
                if (match(line, /valid baseurl for repo: [^\/ ]+/)) { line = substr(line, RSTART, RLENGTH); sub(/^.* /, "", line); print line; exit }
            }' "$T/out")
        case $_name in '' | *[!A-Za-z0-9._:@+-]*) dnf_cannot_look ;; esac
        case " $DNF_WITHOUT " in *" $_name "*) dnf_cannot_look ;; esac
        DNF_WITHOUT="$DNF_WITHOUT $_name"
        printf '%s (%s)\n' "$_name" "$(cause "$T/out")" >>"$T/unseen"
        _left=
        for _repository in $(dnf_repositories); do
            case " $DNF_WITHOUT " in *" $_repository "*) ;; *) _left=1 ;; esac
        done
        [ -n "$_left" ] || dnf_cannot_look
    done
}

dnf_cannot_look() {
    [ -s "$T/unseen" ] && fail "Not looked for updates: $(awk '{ printf "%s%s", sep, $0; sep = "; " }' "$T/unseen")"
    fail "Not looked for updates: $BACKEND check-update failed (exit code $CODE): $(cause "$T/out")"
}

# The repositories that are enabled; yum marks them, and adds version and architecture.
dnf_repositories() {
    within 300 "$BACKEND" -q repolist 2>/dev/null </dev/null | awk 'NF && !/^repo/ { sub(/^[!*]+/, "", $1); sub(/\/.*/, "", $1); print $1 }'
}

# Name and version of what check-update lists, and of what replaces another; a long name has a line for itself.
dnf_table() {
    awk '
        {
            line = name $0
            fields = split(line, f, " ")
            if (line ~ /^[^ \t]/ && fields == 3 && f[1] ~ /\.[A-Za-z0-9_]+$/) print f[1] "\t" f[2]
            name = NF == 1 ? $0 : ""
        }' "$1"
}

# What has a newer version and is locked or excluded, by name.
dnf_filtered() {
    if dnf_is_5; then _filters="--setopt=disable_excludes=*"; else _filters="--disableexcludes=all --disableplugin=versionlock"; fi
    set -f
    ask 300 $(dnf_words) -q -C $_filters check-update $NAMES
    set +f
    [ "$CODE" = 100 ] || return 0
    dnf_table "$T/asked" >"$T/all"
    awk -F '\t' 'FILENAME == ARGV[1] { known[$1] = 1; next } !($1 in known) { sub(/\.[^.]*$/, "", $1); print $1 " (locked or excluded)" }' "$T/waiting" "$T/all"
}

dnf_download() {
    # A test downloads, keeps what it has downloaded, and finds full disks and files of two owners.
    dnf_run upgrade --setopt=tsflags=test
    expect "The download and its test"
    # rpm's test knows what the packages themselves take, and nothing of the initramfs.
    expect_room "$T/out"
    awk '
        /^Skipping packages with/ { table = 1; next }
        !/^ / { table = 0; next }
        table && !/^  / { print $1 }' "$T/out" >"$T/skipped"
    [ -s "$T/skipped" ] || return 0
    sed 's/$/ (its dependencies are not met)/' "$T/skipped" >>"$T/held"
    awk -F '\t' 'FILENAME == ARGV[1] { skipped[$1] = 1; next } !($1 in skipped)' "$T/skipped" "$T/planned" >"$T/rest"
    mv "$T/rest" "$T/planned"
}

dnf_apply() {
    set -f
    # The first step, or script, behind rpm's lock and test: "Running transaction" comes before them. Then dnf 5's.
    run_applying '^[[:space:]]+(Preparing|Running scriptlet|[A-Z][a-z]+ing|Cleanup|Erase) *: |scriptlet|^\[ *[0-9]+/[0-9]+\] (Verify|Prepare|[A-Z][a-z]+ing) ' $(dnf_words) upgrade $NAMES
    set +f
    expect "$BACKEND upgrade"
    # dnf 4 ends with 0 all the same.
    if grep -q -E 'scriptlet failed, exit status|rror in [^ ]+ scriptlet|Non-fatal [^ ]+ scriptlet' "$T/out"; then
        fail "$BACKEND installed the packages, but a package's script failed: $(cause "$T/out")"
    fi
}

dnf_prepare() { stepped_fetch; }
dnf_update() { stepped_update; }
dnf_has_begun() { stepped_has_begun; }
dnf_progress() { stepped_progress; }
dnf_installed() { rpm_installed; }
dnf_complaints() { rpm_complaints; }

# What needs-restarting says: its exit code alone is also that of a missing plug-in.
dnf_needs_reboot() {
    if [ "$BACKEND" = yum ]; then ask 300 needs-restarting -r; else ask 300 dnf needs-restarting -r; fi
    if [ "$CODE" = 0 ] || grep -q "Reboot is required" "$T/asked"; then
        [ "$CODE" = 1 ]
        return
    fi
    say "There is no needs-restarting: times of installation are compared with the boot"
    _booted=$(($(date +%s) - $(uptime_s)))
    "$(path_of rpm)" -q --qf '%{INSTALLTIME}\n' $DNF_CORE 2>/dev/null | awk -v booted="$_booted" '/^[0-9]+$/ && $1 + 0 > booted + 0 { found = 1 } END { exit !found }'
}

yum_prepare() { stepped_fetch; }
yum_update() { stepped_update; }
yum_look() { dnf_look; }
yum_download() { dnf_download; }
yum_apply() { dnf_apply; }
yum_has_begun() { stepped_has_begun; }
yum_progress() { stepped_progress; }
yum_installed() { rpm_installed; }
yum_complaints() { rpm_complaints; }
yum_needs_reboot() { dnf_needs_reboot; }
