# apk 3, and apk 2 as its manual says: Alpine.

apk_look() {
    [ -n "$IS_PREPARED" ] || apk_refresh
    : >"$T/planned"
    # Only where it is to say more it says how much room it takes.
    apk_upgrade run_stoppable --simulate --verbose
    apk_plan >"$T/planned"
    cp "$T/out" "$T/plan"
    apk_cache
    ask 300 apk version -l '<' $APK_CACHE
    awk -v names="$NAMES" '
        BEGIN { count = split(names, wanted, " "); for (i = 1; i <= count; i++) is_wanted[wanted[i]] = 1 }
        FILENAME == ARGV[1] { planned[$1] = 1; next }
        match($1, /-[0-9][^-]*-r[0-9]+$/) && $2 == "<" {
            name = substr($1, 1, RSTART - 1)
            if (!(name in planned) && (!count || name in is_wanted)) print name " (pinned)"
        }' "$T/planned" "$T/asked" >"$T/held"
}

# Read the indexes anew; one that cannot be read is named, and all of them are a failure.
apk_refresh() {
    if ! cat "$R/etc/apk/repositories" "$R/etc/apk/repositories.d"/* 2>/dev/null | grep -q '^[[:space:]]*[^#[:space:]]'; then
        fail "Not looked for updates: apk has no repository (/etc/apk/repositories)."
    fi
    apk_cache
    run_stoppable apk update $APK_CACHE
    [ "$CODE" = 0 ] && return
    sed -n -e 's/^WARNING: //p' -e 's/^ERROR: //p' "$T/out" >"$T/unseen"
    [ -s "$T/unseen" ] || cause "$T/out" >"$T/unseen"
    if ! grep -q '^[^:]*\[[^] ]*\]$' "$T/out"; then
        fail "Not looked for updates: $(awk '{ printf "%s%s", sep, $0; sep = "; " }' "$T/unseen")"
    fi
}

apk_upgrade() { # HOW OPTION…
    _how=$1
    shift
    apk_cache
    apk_forced "$_how" apk upgrade "$@" $NAMES $APK_CACHE
    apk_expect "apk upgrade"
}

# apk 3 refuses to go on without a repository; apk 2 goes on, and has no such option.
apk_forced() { # HOW PROGRAM…
    apk_by "$@"
    if [ "$CODE" != 0 ] && grep -q -e '--force-missing-repositories' "$T/out"; then
        apk_by "$@" --force-missing-repositories
    fi
}

apk_by() {
    _by=$1
    shift
    case $_by in
    run_applying) run_applying '^\([[:space:]]*[0-9]+/[0-9]+\) [A-Za-z0-9_]' "$@" ;;
    *) "$_by" "$@" ;;
    esac
}

# A package whose script failed once makes every later call end with 1: with these words and no error.
apk_expect() {
    [ "$CODE" = 0 ] && return
    if grep -q -E '^[0-9]+ errors?; ' "$T/out" && ! grep -q '^ERROR: ' "$T/out"; then return; fi
    fail "$1 failed (exit code $CODE): $(cause "$T/out")"
}

# Lines of "(1/3) Upgrading name (old -> new)", "Installing name (new)", "Purging name (old)".
apk_plan() {
    awk '/^\( *[0-9]+\/[0-9]+\) / {
        line = $0
        sub(/^\( *[0-9]+\/[0-9]+\) /, "", line)
        fields = split(line, f, " ")
        if (fields < 3 || f[3] !~ /^\(/) next
        first = substr(f[3], 2); sub(/\)$/, "", first)
        second = f[4] == "->" ? f[5] : ""; sub(/\)$/, "", second)
        if (f[1] == "Purging") print f[2] "\t" first "\t"
        else if (second != "") print f[2] "\t" first "\t" second
        else print f[2] "\t\t" first
    }' "$T/out"
}

apk_download() {
    expect_room "$T/plan"
    apk_cache
    # A name alone would be the version that is installed.
    apk_forced run_stoppable apk cache download $(awk -F '\t' '$3 != "" { print $1 "=" $3 }' "$T/planned") $APK_CACHE
    # What came would fill the guest's disk for good.
    [ "$CODE" = 0 ] || rm -rf "$R/var/cache/innkeeper/apk"
    apk_expect "The download"
}

# A cache of ours where the guest has none: else it downloads as it installs.
apk_cache() {
    APK_CACHE=
    [ -d "$R/etc/apk/cache" ] && return
    mkdir -p "$R/var/cache/innkeeper/apk"
    APK_CACHE="--cache-dir $R/var/cache/innkeeper/apk"
}

apk_apply() {
    apk_upgrade run_applying
    rm -rf "$R/var/cache/innkeeper/apk"
}

apk_prepare() { stepped_fetch; }
apk_update() { stepped_update; }
apk_has_begun() { stepped_has_begun; }
apk_progress() { stepped_progress; }

apk_installed() {
    within 120 apk info -v 2>/dev/null </dev/null | awk 'match($1, /-[^-]+-r[0-9][^-]*$/) { print substr($1, 1, RSTART - 1) "\t" substr($1, RSTART + 1) }'
}

apk_complaints() {
    ask 120 apk info
    [ "$CODE" = 0 ] || printf 'apk cannot read its database: %s\n' "$(cause "$T/asked")"
}

apk_needs_reboot() {
    [ -n "${APPLIED:-}" ] || return 1
    cut -f 1 "$T/planned" | grep -v -E '^linux-(headers|firmware|pam)' | grep -q -E '^(linux-[A-Za-z0-9_]|musl$)'
}
