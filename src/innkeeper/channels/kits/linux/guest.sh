# The guest: what it is, who is there, what its units say, and whether an update has taken effect.

verb_hello() {
    find_backend
    printf '{"protocol": %s, "agent_version": "kit %s for Linux", "boot_id": %s, "plugin_name": %s, "os_name": %s, "channels": 0, "tasks": [' \
        $PROTOCOL $KIT_VERSION "$(json "$(boot_id)")" "$(json "Innkeeper $BACKEND updates, by qemu-guest-agent")" "$(json "$(os_name)")"
    _comma=
    for _update in "$STATE/updates"/*/update; do
        [ -e "$_update/request" ] && [ -s "$_update/identifier" ] || continue
        printf '%s%s' "$_comma" "$(task_json "$_update")"
        _comma=', '
    done
    _knows='"facts", "sessions", "evidence", "effect"'
    [ "$BACKEND" = scripts ] || _knows="$_knows, \"scan\", \"prepare\""
    if [ -e "$R/usr/local/lib/innkeeper/innkeeper-agent.pyz" ]; then _installed=true; else _installed=false; fi
    printf '], "knows": [%s], "task_agent": %s, "limits": %s}\n' "$_knows" "$_installed" "$(limits)"
}

# What this guest cannot do or tell through the kit.
limits() {
    {
        if ! has_systemd; then
            echo "Without systemd its services are not told apart, and an update may die with a restart of qemu-guest-agent."
        elif ! has systemd-run; then
            echo "Without systemd-run an update may die with a restart of qemu-guest-agent."
        fi
        [ -d "$R/run/systemd/system" ] && ! has journalctl && echo "Without journalctl its failures of the last week are not known."
        echo "How long its services usually take after a boot is not learnt."
        echo "Its ports cannot be reached by channels, and it can book no update by itself."
    } >"$T/limits"
    json_lines "$T/limits" 30
}

verb_facts() {
    printf '{"facts": {"computer_name": %s, "os_id": %s, "os_name": %s, "version": %s, "version_id": %s, "variant": %s, "kernel_release": %s, "kernel_version": %s, "architecture": %s}}\n' \
        "$(json "$(uname -n)")" "$(json "$(os_release ID)")" "$(json "$(os_name)")" "$(json "$(os_release VERSION)")" \
        "$(json "$(os_release VERSION_ID)")" "$(json "$(os_release VARIANT_ID)")" "$(json "$(uname -r)")" "$(json "$(uname -v)")" "$(json "$(uname -m)")"
}

verb_sessions() {
    printf '{"sessions": ['
    _comma=
    if has_systemd && has loginctl; then
        ask 10 loginctl list-sessions --no-legend --no-pager
        awk 'NR <= 64 { print $1 }' "$T/asked" >"$T/sessions"
        while read -r _session; do
            ask 10 loginctl show-session "$_session" -p Name -p Class -p Remote -p LockedHint -p State
            _row=$(awk "$AWK_JSON"'
                { at = index($0, "="); p[substr($0, 1, at - 1)] = substr($0, at + 1) }
                function truth(word) { return word == "yes" ? "true" : word == "no" ? "false" : "null" }
                END { if (p["Class"] == "user" && p["State"] != "closing")
                    printf "{\"user\": %s, \"since\": 0, \"locked\": %s, \"remote\": %s}", js(p["Name"]), truth(p["LockedHint"]), truth(p["Remote"]) }' "$T/asked")
            [ -n "$_row" ] || continue
            printf '%s%s' "$_comma" "$_row"
            _comma=', '
        done <"$T/sessions"
    elif has who; then
        ask 10 who
        awk "$AWK_JSON"'NR <= 64 && NF > 1 { printf "%s{\"user\": %s, \"since\": 0, \"locked\": null, \"remote\": %s}", sep, js($1), ($NF ~ /^\(.*\)$/ ? "true" : "false"); sep = ", " }' "$T/asked"
    fi
    printf ']}\n'
}

verb_evidence() {
    printf '{"evidence": {'
    _comma=
    for _unit in "$@"; do
        : >"$T/evidence"
        if has_systemd; then
            unit_state "$_unit" >"$T/evidence"
            last_words "$_unit" >>"$T/evidence"
        fi
        [ -s "$T/evidence" ] || continue
        printf '%s%s: %s' "$_comma" "$(json "$_unit")" "$(json_lines "$T/evidence" 12)"
        _comma=', '
    done
    printf '}}\n'
}

unit_state() {
    case $1 in user@*.service/*) return ;; esac # its manager may not answer anyone but its user
    ask 20 systemctl show -p LoadState,ActiveState,SubState,Result,ExecMainCode,ExecMainStatus,NRestarts,StateChangeTimestamp -- "$1"
    [ "$CODE" = 0 ] || return
    awk '
        { at = index($0, "="); if (at) p[substr($0, 1, at - 1)] = substr($0, at + 1) }
        END {
            if (p["LoadState"] == "" || p["LoadState"] == "not-found") exit
            line = p["ActiveState"] " (" p["SubState"] ")"
            if (p["Result"] != "" && p["Result"] != "success") line = line ", result " p["Result"]
            code = p["ExecMainCode"]
            how = code == 1 ? "exit code" : code == 2 ? "killed by signal" : code == 3 ? "killed by signal, with a core dump," : ""
            if (how != "") line = line ", its program ended by " how " " p["ExecMainStatus"]
            if (p["NRestarts"] + 0) line = line ", started again " p["NRestarts"] " times"
            if (p["StateChangeTimestamp"] != "") line = line ", since " p["StateChangeTimestamp"]
            print substr(line, 1, 400)
        }' "$T/asked"
}

last_words() {
    has journalctl || return
    case $1 in
    user@*.service/*)
        _uid=${1#user@}
        set -- "_UID=${_uid%%.service/*}" "_SYSTEMD_USER_UNIT=${1#*/}"
        ;;
    *) set -- "--unit=$1" ;;
    esac
    ask 20 journalctl -q --no-pager -b -o short-iso --no-hostname -n 6 "$@"
    [ "$CODE" = 0 ] && grep -v '^[[:space:]]*$' "$T/asked" | cut -c 1-400
}

verb_effect() {
    stale >"$T/stale"
    printf '{"reboot": %s, "stale": %s}\n' "$(json "$(why_reboot)")" "$(json_rows "$T/stale" 500)"
}

# Lines of unit, program and path: who runs a file that was replaced; each program of each unit once.
stale() {
    grep -H -E '^[^ ]+ [^ ]*x[^ ]* [^ ]+ [^ ]+ [^ ]+ +/(usr|lib|lib32|lib64|bin|sbin|opt)/.* \(deleted\)$' "$R/proc"/[0-9]*/maps 2>/dev/null | awk -v proc="$R/proc" "$AWK_UNIT"'
        {
            at = index($0, "/maps:")
            pid = substr($0, 1, at - 1)
            sub(/^.*\//, "", pid)
            if (pid in seen) next
            seen[pid] = 1
            path = substr($0, at + 6)
            sub(/^[^\/]*/, "", path)
            sub(/ \(deleted\)$/, "", path)
            unit = pid == 1 ? "init.scope" : unit_of(proc "/" pid "/cgroup")
            program = first_line(proc "/" pid "/comm")
            if (!((unit "\t" program) in told)) { told[unit "\t" program] = 1; print unit "\t" program "\t" path }
        }' | sort | head -n 500
}

# What only a reboot changes; empty where nothing waits for one.
why_reboot() {
    _kernel=$(new_kernel)
    if [ -n "$_kernel" ]; then
        printf 'the kernel %s was installed, and %s runs' "$_kernel" "$(uname -r)"
        return
    fi
    awk -F '\t' '$1 == "dbus.service" || $1 == "dbus-broker.service" || $1 == "init.scope" { printf "%s still runs the old %s", $2, $3; exit }' "$T/stale"
}

# A kernel that was put into /boot since the boot, and is neither the one that runs nor older.
new_kernel() {
    _booted=$(awk '$1 == "btime" { print $2; exit }' "$R/proc/stat" 2>/dev/null)
    [ -n "$_booted" ] || return 0
    _running=$(uname -r)
    _age=$(stat -c %Y "$R/boot/vmlinuz-$_running" 2>/dev/null)
    for _file in "$R/boot"/vmlinuz-* "$R/boot"/vmlinux-* "$R/boot"/Image-*; do
        [ -e "$_file" ] || continue
        _version=${_file##*/}
        _version=${_version#*-}
        case $_version in *rescue*) continue ;; esac
        # The time of its content is when it was built: the file came later.
        _came=$(stat -c %Z "$_file") _built=$(stat -c %Y "$_file")
        [ "${_came:-0}" -gt "$_booted" ] || continue
        [ -d "$R/lib/modules/$_version" ] || [ -d "$R/usr/lib/modules/$_version" ] || continue
        if [ "$_version" = "$_running" ]; then
            _told=$(told_by "$_file")
            case $_told in '' | *"$(uname -v)"*) ;; *) printf '%s (built anew)' "$_version"; return ;; esac
        elif [ "${_built:-0}" -gt "${_age:-0}" ]; then
            printf '%s' "$_version"
            return
        fi
    done
}

# What a kernel for PCs says of itself ("The Linux/x86 Boot Protocol", kernel_version); empty for others.
told_by() {
    [ "$(dd if="$1" bs=1 skip=514 count=4 2>/dev/null)" = HdrS ] || return 0
    _at=$(dd if="$1" bs=1 skip=526 count=2 2>/dev/null | od -An -tu1 | awk '{ print $1 + 256 * $2 + 512 }')
    dd if="$1" bs=1 skip="$_at" count=256 2>/dev/null | tr '\000' '\n' | head -n 1
}

# Restarting some ends what people do, containers, or the answer to the host.
may_restart() {
    case $1 in
    */* | dbus* | systemd-logind* | user@* | session-* | getty@* | serial-getty@* | qemu-guest-agent* | qemu-ga* | innkeeper-*) return 1 ;;
    networking* | net.* | ifup@* | elogind* | messagebus* | agetty* | display-manager* | slim* | xdm* | lxdm*) return 1 ;;
    docker* | containerd* | crio* | podman* | libvirtd* | virtqemud* | gdm* | sddm* | lightdm*) return 1 ;;
    *.service) return 0 ;;
    esac
    return 1
}

verb_restart_units() {
    : >"$T/chosen"
    for _unit in "$@"; do
        may_restart "$_unit" && printf '%s\n' "$_unit" >>"$T/chosen"
    done
    if [ -s "$T/chosen" ] && has_systemd; then
        set -f
        ask 60 systemctl try-restart --no-block -- $(cat "$T/chosen")
        set +f
        [ "$CODE" = 0 ] || : >"$T/chosen"
    else
        : >"$T/chosen"
    fi
    printf '{"units": %s}\n' "$(json_lines "$T/chosen" 500)"
}

# Below the root alone, never by the search path: a test must not be able to reboot the machine it runs on.
power_program() {
    for _dir in usr/bin bin usr/sbin sbin; do
        if [ -x "$R/$_dir/$1" ]; then
            printf '%s' "$R/$_dir/$1"
            return
        fi
    done
}

go_down() { # systemctl's VERB, other inits' PROGRAM
    _program=$(power_program systemctl)
    if has_systemd && [ -n "$_program" ]; then
        set -- "$_program" "$1"
    else
        _program=$(power_program "$2")
        [ -n "$_program" ] || refuse "The guest has no program to $1 it."
        set -- "$_program"
    fi
    echo '{}'
    # After the answer is on its way; qemu-guest-agent waits for whoever holds its output.
    (
        trap '' HUP
        sleep 1
        exec "$@"
    ) >/dev/null 2>&1 </dev/null &
}

verb_set_time() {
    _seconds=${1%%.*}
    is_number "$_seconds" || refuse "The time is no number of seconds."
    ask 10 date -u -s "@$_seconds"
    [ "$CODE" = 0 ] || refuse "The clock of this guest cannot be set: $(cause "$T/asked")"
    echo '{}'
}
