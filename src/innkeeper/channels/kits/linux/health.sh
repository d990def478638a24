# Health: facts to be compared with those of another moment.

HEALTH_KINDS='*.service *.socket *.timer *.path *.mount *.swap *.automount *.scope'
HEALTH_PROPERTIES=Id,Names,Job,ActiveState,SubState,Type,NRestarts,RemainAfterExit,UnitFileState,FragmentPath,SourcePath,Where,What,WantedBy,RequiredBy,TriggeredBy,Triggers,StateChangeTimestampMonotonic
CHECK_S=60
# What fits beside all else; of a part, the rest would look lost.
MOST_DETAILS=4000
MOST_DETAILS_BYTES=524288
# Of more listeners than these, those of single questions are left out.
MANY_LISTENERS=1000

verb_health() {
    find_backend
    ask_systemd
    units_of_users >"$T/user.units"
    restarts_of_users >"$T/again"
    awk -F '\t' "$AWK_JSON"'
        FILENAME == ARGV[1] { again[js($1)] = $2; next }
        { name = substr($0, 2, index($0, ", [") - 2) }
        name in again { sub(/"simple", 0,/, "\"simple\", " again[name] ",") }
        { print }' "$T/again" "$T/user.units" >"$T/user.counted"
    mv "$T/user.counted" "$T/user.units"
    listeners >"$T/listeners"
    list_mounts >"$T/mounts"
    list_swaps >"$T/swaps"
    routes
    "${BACKEND}_complaints" >"$T/complaints"
    failed_checks >"$T/checks.json"
    : >"$T/lately"
    [ "${1:-}" = history ] && failed_lately >"$T/lately"
    if [ -s "$T/complaints" ]; then _sound=false; else _sound=true; fi
    if is_marked || [ "$(line_of "$STATE/reboot-due")" = "$(boot_id)" ]; then _due=true; else _due=false; fi
    _system=
    if has_systemd; then
        ask 20 systemctl is-system-running
        _system=$(tail -n 1 "$T/asked")
    fi
    printf '{"health": {"boot_id": %s, "kernel": %s, "system_state": %s, "failed_units": %s, ' \
        "$(json "$(boot_id)")" "$(json "$(uname -r)")" "$(json "$_system")" "$(json_lines "$T/failed.units" 2000)"
    lasting_listeners >"$T/lasting"
    awk -F '\t' '{ print $1 ":" $2 ":" $3 }' "$T/lasting" | sort -u >"$T/places"
    if [ "$(wc -l <"$T/listeners")" -gt $MANY_LISTENERS ]; then mv "$T/lasting" "$T/listeners"; fi
    printf '"listeners": %s, ' "$(json_lines "$T/places" 2000)"
    { cat "$T/swaps"; awk -F '\t' '$4 != "" || $1 == "/"' "$T/mounts"; } >"$T/wanted"
    # Those that somebody wants first: they are in a list that is cut, too.
    awk -F '\t' '$4 != "" || $1 == "/" { print $1 }' "$T/swaps" "$T/mounts" >"$T/places"
    awk -F '\t' '$4 == "" && $1 != "/" { print $1 }' "$T/mounts" >>"$T/places"
    printf '"mounts": %s, "package_database_ok": %s, "reboot_required": %s, "failed_checks": ' "$(json_lines "$T/places" 2000)" "$_sound" "$_due"
    cat "$T/checks.json"
    details >"$T/details"
    if [ -s "$T/too.many" ] || [ "$(wc -c <"$T/details")" -gt $MOST_DETAILS_BYTES ]; then echo null >"$T/details"; fi
    printf ', "details": '
    cat "$T/details"
    printf '}}\n'
}

details() {
    unit_files >"$T/unit.files"
    for _list in units.json unit.files listeners wanted complaints; do
        [ "$(wc -l <"$T/$_list")" -gt $MOST_DETAILS ] && echo "$_list" >>"$T/too.many"
    done
    printf '{"uptime": %s, "units": [' "$(uptime_s)"
    cat "$T/units.json" "$T/user.units" | awk '{ printf "%s%s", sep, $0; sep = ",\n" }'
    printf '], "unit_files": %s, "listeners": ' "$(json_lines "$T/unit.files" $MOST_DETAILS)"
    awk -F '\t' "$AWK_JSON"'{ printf "%s[%s, %s, %d, %s, %s]", (NR > 1 ? ",\n" : "["), js($1), js($2), $3, js($4), js($5) } END { printf "%s", (NR ? "]" : "[]") }' "$T/listeners"
    printf ', "any_ports": %s, "mounts": ' "$(any_ports)"
    awk -F '\t' "$AWK_JSON"'
        { printf "%s[%s, %s, %s, %s, %s]", (NR > 1 ? ",\n" : "["), js($1), js($2), $3, js($4), js($5) }
        END { printf "%s", (NR ? "]" : "[]") }' "$T/wanted"
    printf ', "routes": '
    json_routes
    printf ', "complaints": %s, "failed_lately": %s, "boots": []}' "$(json_lines "$T/complaints" 2000)" "$(json_lines "$T/lately" 2000)"
}

# What systemd says of each unit: units.json (a row a line), failed.units, mount.units (place, whose wish), swap.units
# (file or device, whose wish).
ask_systemd() {
    : >"$T/units.json"
    : >"$T/failed.units"
    : >"$T/mount.units"
    : >"$T/swap.units"
    has_systemd || return 0
    set -f
    ask 60 systemctl show --no-pager -p "$HEALTH_PROPERTIES" -- $HEALTH_KINDS
    set +f
    [ "$CODE" = 0 ] || refuse "systemctl show failed (exit code $CODE): $(tail -n 1 "$T/asked")"
    awk -v now="$(line_of "$R/proc/uptime")" -v failed="$T/failed.units" -v mounts="$T/mount.units" -v swaps="$T/swap.units" "$AWK_JSON"'
        function list(text, without,  parts, count, i, out) {
            count = split(text, parts, " ")
            for (i = 1; i <= count; i++) if (parts[i] != without) out = out (out == "" ? "" : ", ") js(parts[i])
            return "[" out "]"
        }
        function truth(what) { return what ? "true" : "false" }
        function number(text) { return text ~ /^[0-9]+$/ ? text : 0 }
        function ends(  kind, job, wanted, enabled, kept, since, origin) {
            if (p["Id"] == "" || p["Id"] in seen) { split("", p); return }
            seen[p["Id"]] = 1
            kind = p["Id"]; sub(/^.*\./, "", kind)
            if (p["ActiveState"] == "failed") print p["Id"] > failed
            origin = p["SourcePath"] == "/etc/fstab" ? "fstab" : p["FragmentPath"] ~ /^\/run\// ? "generated" : p["FragmentPath"] != "" ? "unit" : ""
            if (kind == "mount" && p["Where"] != "") print p["Where"] "\t" origin > mounts
            if (kind == "swap" && p["What"] != "" && origin != "" && (p["WantedBy"] != "" || p["RequiredBy"] != "")) print p["What"] "\t" origin > swaps
            if (kind ~ /^(service|socket|timer|path)$/) {
                job = number(p["Job"]) > 0
                wanted = p["WantedBy"] != "" || p["RequiredBy"] != ""
                enabled = p["UnitFileState"] ~ /^enabled/
                kept = !(p["Type"] == "oneshot" && p["RemainAfterExit"] != "yes") && (wanted || enabled)
                if (p["ActiveState"] != "inactive" || job || kept) {
                    since = number(p["StateChangeTimestampMonotonic"]) / 1000000
                    printf "[%s, %s, %s, %s, %s, %.0f, %s, %s, %s, %s, %s, %s, %d]\n", js(p["Id"]), list(p["Names"], p["Id"]), js(p["ActiveState"]), js(p["SubState"]), js(p["Type"]), number(p["NRestarts"]), truth(p["RemainAfterExit"] == "yes"), js(p["UnitFileState"]), truth(wanted), truth(p["TriggeredBy"] != ""), list(p["Triggers"], ""), truth(job), (since > 0 && now + 0 > since ? now - since : 0)
                }
            }
            split("", p)
        }
        /^$/ { ends(); next }
        { at = index($0, "="); if (at) p[substr($0, 1, at - 1)] = substr($0, at + 1) }
        END { ends() }' "$T/asked" >"$T/units.json"
    [ -s "$T/failed.units" ] && sort -u -o "$T/failed.units" "$T/failed.units"
    return 0
}

unit_files() {
    {
        # A backslash of a name is two there.
        sed -n 's/^\["\(user@[0-9]*\.service\/[^"]*\)".*/\1/p' "$T/user.units" | sed 's/\\\\/\\/g'
        for _dir in etc/systemd/system run/systemd/system usr/lib/systemd/system lib/systemd/system; do
            ls -1 "$R/$_dir" 2>/dev/null
        done
    } | grep -E '\.(service|socket|timer|path)$' | sort -u
}

# The units that the journal has seen fail in the last week, in any boot.
failed_lately() {
    has_systemd && has journalctl || return 0
    ask 60 journalctl -q --no-pager -o json --since -7d MESSAGE_ID=d9b373ed55a64feb8242e02dbe79a49c MESSAGE_ID=be02cf6855d2428ba40df7e9d022f03d
    [ "$CODE" = 0 ] || return 0
    units_of_entries | cut -f 1 | sort -u | head -n 2000
}

# Lines of unit and number of restarts, of the journal's entries that were asked for.
units_of_entries() {
    # A backslash of a name is two there.
    awk '
        function field(name,  found) {
            if (!match($0, "\"" name "\" *: *\"[^\"]*\"")) return ""
            found = substr($0, RSTART, RLENGTH - 1)
            sub(/^"[^"]*" *: *"/, "", found)
            gsub(/\\\\/, "\\", found)
            return found
        }
        {
            unit = field("UNIT")
            if (unit == "" && field("USER_UNIT") != "" && field("_UID") != "") unit = "user@" field("_UID") ".service/" field("USER_UNIT")
            if (unit != "") print unit "\t" field("N_RESTARTS") + 0
        }' "$T/asked"
}

# Lines of the same: how often users' managers say in this boot's journal that they started a unit again.
restarts_of_users() {
    has_systemd && has journalctl || return 0
    set --
    for _manager in $(sed -n 's/^\["\(user@[0-9]*\.service\)\/.*/\1/p' "$T/user.units" | sort -u); do
        set -- "$@" "_SYSTEMD_UNIT=$_manager"
    done
    [ $# != 0 ] || return 0
    ask 60 journalctl -q --no-pager -b -o json -n 2000 MESSAGE_ID=5eb03494b6584870a536b337290809b3 "$@"
    [ "$CODE" = 0 ] || return 0
    # The last one counts: each tells how many there were.
    units_of_entries
}

# Rows of what starts with the managers of users who linger, and whether it runs. The managers are not asked: they may not answer.
units_of_users() {
    for _linger in "$R/var/lib/systemd/linger"/*; do
        [ -e "$_linger" ] || continue
        _user=${_linger##*/}
        awk -F : -v name="$_user" '$1 == name { print $3 "\t" $6; exit }' "$R/etc/passwd" | while IFS="$TAB" read -r _uid _home; do
            for _wants in "$R$_home/.config/systemd/user"/*.wants/* "$R/etc/systemd/user"/*.wants/* "$R/usr/lib/systemd/user"/*.wants/* "$R/lib/systemd/user"/*.wants/*; do
                [ -e "$_wants" ] || [ -h "$_wants" ] || continue
                # A desktop's end with its user's session, as with a reboot.
                case $_wants in */graphical-session*.wants/*) continue ;; esac
                printf '%s\n' "${_wants##*/}"
            done | sort -u | while IFS= read -r _name; do
                unit_of_user "$_name"
            done
        done
    done
}

# The row of one. What has no process of its own is active where its manager has a note of it.
unit_of_user() {
    _state='"inactive", "dead"' _type= _triggers=
    _notes="$R/run/user/$_uid/systemd/units"
    case $1 in
        *.service)
            _type=simple
            _group=$(find "$R/sys/fs/cgroup/user.slice/user-$_uid.slice/user@$_uid.service" "$R/sys/fs/cgroup/systemd/user.slice/user-$_uid.slice/user@$_uid.service" -type d -name "$1" 2>/dev/null | head -n 1)
            if [ -n "$_group" ] && [ -n "$(line_of "$_group/cgroup.procs")" ]; then _state='"active", "running"'; fi
            ;;
        *.socket | *.timer | *.path)
            [ -n "$(ls "$_notes" 2>/dev/null)" ] || return 0
            _triggers=$(json "user@$_uid.service/${1%.*}.service")
            case $1 in *.socket) _waits=listening ;; *) _waits=waiting ;; esac
            if [ -h "$_notes/invocation:$1" ] || [ -e "$_notes/invocation:$1" ]; then _state="\"active\", \"$_waits\""; fi
            ;;
        *) return 0 ;;
    esac
    printf '[%s, [], %s, "%s", 0, false, "enabled", true, false, [%s], false, 0]\n' "$(json "user@$_uid.service/$1")" "$_state" "$_type" "$_triggers"
}

# Lines of place, kind, whether it can only be read, whose wish, options of fstab; the uppermost of each place.
list_mounts() {
    [ -r "$R/etc/fstab" ] && cat "$R/etc/fstab" >"$T/fstab" || : >"$T/fstab"
    awk -v table="$T/fstab" -v wanted="$T/mount.units" '
        function octal(d) { return index("01234567", substr(d, 1, 1)) * 64 - 64 + (index("01234567", substr(d, 2, 1)) - 1) * 8 + index("01234567", substr(d, 3, 1)) - 1 }
        function plain(text,  out) {
            while (match(text, /\\[0-7][0-7][0-7]/)) {
                out = out substr(text, 1, RSTART - 1) sprintf("%c", octal(substr(text, RSTART + 1, 3)))
                text = substr(text, RSTART + 4)
            }
            return out text
        }
        BEGIN {
            while ((getline line < table) > 0)
                if (line !~ /^[ \t]*#/ && split(line, f, " ") > 3) { options[plain(f[2])] = f[4]; named[plain(f[2])] = 1 }
            while ((getline line < wanted) > 0) { split(line, f, "\t"); origin[f[1]] = f[2] }
        }
        $3 ~ /^(autofs|overlay|squashfs|nsfs|fuse\.portal|tracefs|binfmt_misc)$/ { next }
        {
            place = plain($2)
            gsub(/[\t\n]/, " ", place)
            if (place ~ /^\/run\/user\//) next
            row[place] = $3 "\t" (("," $4 ",") ~ /,ro,/ ? "true" : "false") "\t" (place in named ? "fstab" : origin[place]) "\t" options[place]
        }
        END { for (place in row) print place "\t" row[place] }' "$R/proc/self/mounts" | sort
}

# Lines as of mounts, of what is swapped to: by its name in fstab or a unit, else by the kernel's.
list_swaps() {
    [ -r "$R/proc/swaps" ] || return 0
    sed -n '2,$p' "$R/proc/swaps" | while read -r _what _rest; do
        printf '%s\t%s\n' "$(real_file "$_what")" "$_what"
    done >"$T/swaps.left"
    awk '$1 !~ /^#/ && $3 == "swap" && NF > 3 { print $1 "\tfstab\t" $4 }' "$T/fstab" | sort >"$T/swaps.named"
    sort "$T/swap.units" >>"$T/swaps.named"
    while IFS="$TAB" read -r _what _origin _options; do
        printf '%s\t%s\t%s\t%s\n' "$(real_file "$_what")" "$_what" "$_origin" "$_options"
    done <"$T/swaps.named" | awk -F '\t' '
        FILENAME == ARGV[1] { left[$1] = $2; next }
        $1 in left { print $2 "\tswap\tfalse\t" $3 "\t" $4; delete left[$1] }
        END { for (real in left) print left[real] "\tswap\tfalse\t\t" }' "$T/swaps.left" - | sort
}

# The file, or device, that is meant by UUID=… and the like.
real_file() {
    _path=$1
    case $1 in
        */*=* | /*) ;;
        *=*) _path=/dev/disk/by-$(printf %s "${1%%=*}" | tr A-Z a-z)/$(printf %s "${1#*=}" | tr -d '"') ;;
    esac
    readlink -f "$R$_path" || printf '%s\n' "$R$_path"
}

# The checks of the administrator that fail, as a JSON object; what only wants to be known of is named as such.
failed_checks() {
    printf '{'
    _comma=
    for _script in "$R/etc/innkeeper/health/required.d"/* "$R/etc/innkeeper/health/wanted.d"/*; do
        [ -f "$_script" ] && [ -x "$_script" ] || continue
        ask $CHECK_S "$_script"
        [ "$CODE" = 0 ] && continue
        _words=$(tail -c 1000 "$T/asked" | tr '\n' ' ')
        case $_script in *wanted.d/*) _kind="wanted: " ;; *) _kind= ;; esac
        printf '%s%s: %s' "$_comma" "$(json "$_kind${_script##*/}")" "$(json "${_words:-exit code $CODE}")"
        _comma=', '
    done
    printf '}'
}
