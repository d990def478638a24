# pacman: Arch, which updates all or nothing.

# Since version 7 pacman downloads as a user of its own, who has to come here.
PACMAN_COPY="$R/var/cache/innkeeper/pacman"

# On a copy of the databases: half a refresh would make the next installation half an update.
pacman_look() {
    [ -z "$NAMES" ] || fail "Not updated: on this guest pacman updates everything or nothing, and packages were named."
    if [ -z "$IS_PREPARED" ] || [ ! -d "$PACMAN_COPY" ]; then
        ask 60 pacman-conf DBPath
        _real=/var/lib/pacman
        [ "$CODE" = 0 ] && _real=$(line_of "$T/asked")
        rm -rf "$PACMAN_COPY"
        (umask 022 && mkdir -p "$PACMAN_COPY") && ln -s "${_real%/}/local" "$PACMAN_COPY/local"
        run_stoppable pacman -Sy --dbpath "$PACMAN_COPY" --logfile /dev/null
        expect "Not looked for updates: pacman -Sy"
    fi
    ask 300 pacman -Qu --dbpath "$PACMAN_COPY" --logfile /dev/null
    awk 'NF >= 4 && $3 == "->" && $5 == "[ignored]" { print $1 " (ignored)" }' "$T/asked" >"$T/held"
    awk 'NF == 4 && $3 == "->" { print $1 "\t" $2 "\t" $4 }' "$T/asked" >"$T/planned"
}

pacman_download() {
    run_stoppable pacman -Suw --noconfirm --dbpath "$PACMAN_COPY" --logfile /dev/null
    expect "The download"
}

pacman_apply() {
    run_applying '^:: (Running pre-transaction hooks|Processing package changes)' pacman -Syu --noconfirm
    # Past its lock it refreshes: over old packages that makes the next installation half an update.
    ACTED=1
    expect "pacman -Syu"
    # It ends with 0 all the same.
    if grep -q 'command failed to execute correctly' "$T/out"; then
        _who=$(awk '
            BEGIN { step = "a script" }
            match($0, /^(\([0-9]+\/[0-9]+\) )?(upgrading|installing|removing|reinstalling|downgrading) [^ ]+\.\.\./) {
                step = substr($0, RSTART, RLENGTH - 3); sub(/^.* /, "", step); next }
            /^\(/ { step = $0; next }
            /command failed to execute correctly/ && !(step in seen) { seen[step] = 1; printf "%s%s", sep, step; sep = ", " }' "$T/out")
        fail "pacman installed the packages, but a script failed: $_who: $(cause "$T/out")"
    fi
}

pacman_prepare() { stepped_fetch; }
pacman_update() { stepped_update; }
pacman_has_begun() { stepped_has_begun; }
pacman_progress() { stepped_progress; }
pacman_installed() { within 120 pacman -Q 2>/dev/null </dev/null | awk 'NF == 2 { print $1 "\t" $2 }'; }

pacman_complaints() {
    ask 120 pacman -Dk
    [ "$CODE" = 0 ] || cat "$T/asked"
}

pacman_needs_reboot() { stepped_has_core 'linux(-lts|-zen|-hardened|-rt|-firmware)?|systemd|glibc|dbus(-broker)?'; }
