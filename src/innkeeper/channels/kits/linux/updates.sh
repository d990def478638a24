# Updates: what the host asks of them.

# Lines of a step's log from an offset on, as JSON; sets NEXT.
log_from() { # DIRECTORY OFFSET
    tail -c "+$(($2 + 1))" "$1/log" 2>/dev/null | head -c 49152 | head -n 4000 >"$T/part"
    NEXT=$(($2 + $(wc -c <"$T/part")))
    # Half a line is told when it is whole, or will never be.
    if [ -n "$(tail -c 1 "$T/part" | tr -d '\n')" ] && { [ -z "$END" ] || [ $NEXT -lt "$(wc -c <"$1/log")" ]; }; then
        if [ "$(wc -l <"$T/part")" -gt 0 ]; then
            sed '$d' "$T/part" >"$T/part.whole"
            mv "$T/part.whole" "$T/part"
        elif [ "$(wc -c <"$T/part")" -lt 49152 ]; then
            : >"$T/part"
        fi
    fi
    NEXT=$(($2 + $(wc -c <"$T/part")))
    grep -v '^[[:space:]]*$' "$T/part" >"$T/lines"
    OUTPUT=$(json_lines "$T/lines" 4000)
}

is_number() { case $1 in '' | *[!0-9]*) return 1 ;; esac; [ ${#1} -lt 15 ]; }

# Keep the context of a question; refuses what asks the impossible.
take_request() {
    head -c 65536 >"$T/asked.context"
    take_context "$T/asked.context" || refuse "$WHY"
}

verb_prepare() { # LABEL IDENTIFIER ATTEMPT OFFSET
    is_number "$4" || refuse "The offset is no number."
    take_request
    find_backend
    [ "$BACKEND" != scripts ] || refuse "This guest's updates cannot be prepared."
    _dir="$(directory_of "$2")/prepare"
    if [ -e "$_dir/request" ] && [ "$(line_of "$_dir/attempt")" = "$3" ]; then
        tell_preparation "$_dir" "$4"
        return
    fi
    if is_held "$_dir"; then
        : >"$_dir/cancel"
        printf '{"preparation": {"state": "running", "text": "An earlier preparation is being stopped", "packages": [], "output": [], "offset": 0}}\n'
        return
    fi
    mkdir -p "${_dir%/*}"
    rm -rf "$_dir"
    # Of two who ask at once, one begins it.
    mkdir "$_dir" 2>/dev/null && begin_step "$_dir" "$1" "$2" "$3" <"$T/asked.context"
    printf '{"preparation": {"state": "running", "text": "", "packages": [], "output": [], "offset": 0}}\n'
}

tell_preparation() { # DIRECTORY OFFSET
    look_at "$1"
    log_from "$1" "$2"
    _state=running _words=
    { read -r _status; read -r _percent; IFS= read -r _words; } 2>/dev/null <"$1/state"
    # Its end is told when all of its output has been.
    if [ -n "$END" ] && [ "$NEXT" -ge "$(wc -c <"$1/log")" ]; then
        _state=$END _words=$TEXT
    fi
    printf '{"preparation": {"state": "%s", "text": %s, "packages": %s, "output": %s, "offset": %s}}\n' \
        "$_state" "$(json "$_words")" "$(json_rows "$1/packages" 200)" "$OUTPUT" "$NEXT"
}

verb_stop_preparing() {
    _dir="$(directory_of "$1")/prepare"
    [ -e "$_dir/request" ] && : >"$_dir/cancel"
    echo '{}'
}

verb_start() { # LABEL IDENTIFIER ATTEMPT
    take_request
    _dir="$(directory_of "$2")/update"
    mkdir -p "${_dir%/*}"
    if [ -e "$_dir" ]; then
        look_at "$_dir"
        if [ "$END" = failed ] && [ "$UNCHANGED" = true ] && [ "$(line_of "$_dir/attempt")" != "$3" ]; then
            # Nothing was changed, and the host's next run asks.
            mv "$_dir" "$_dir.$$" 2>/dev/null && rm -rf "$_dir.$$"
        fi
    fi
    # Whoever makes the directory starts the update: nobody else ever does.
    if mkdir "$_dir" 2>/dev/null; then
        begin_step "$_dir" "$1" "$2" "$3" <"$T/asked.context"
        forget_old
    fi
    printf '{"task": %s}\n' "$(task_json "$_dir" full)"
}

# Forget the oldest of the updates that have ended.
forget_old() {
    ls -1t "$STATE/updates" 2>/dev/null | tail -n "+$((KEPT_UPDATES + 1))" | while IFS= read -r _old; do
        [ -s "$STATE/updates/$_old/update/end" ] && rm -rf "$STATE/updates/$_old"
    done
}

# What is known of an update; one that is just being begun has no name yet but that which it is asked for by.
task_json() { # DIRECTORY [full]
    look_at "$1"
    _status=1 _percent=null _words=
    { read -r _status; read -r _percent; IFS= read -r _words; } 2>/dev/null <"$1/state"
    case $END in
    success) _status=6 _percent=100 _words=$TEXT ;;
    failed) _status=7 _words=$TEXT ;;
    esac
    printf '{"identifier": %s, "status": %s, "percent": %s, "text": %s, "unchanged": %s' \
        "$(json "${ASKED:-$(line_of "$1/identifier")}")" "${_status:-1}" "${_percent:-null}" "$(json "$(printf '%.500s' "$_words")")" "$UNCHANGED"
    [ -n "${2:-}" ] && printf ', "packages": %s' "$(json_rows "$1/packages" 5000)"
    printf '}'
}

verb_task() { # IDENTIFIER [OFFSET]
    ASKED=$1
    _dir="$(directory_of "$1")/update"
    # One without a request is being begun at this moment.
    if [ ! -d "$_dir" ]; then
        printf '{"task": null, "output": [], "offset": 0}\n'
        return
    fi
    if [ $# -lt 2 ]; then
        printf '{"task": %s}\n' "$(task_json "$_dir" full)"
        return
    fi
    _offset=$2
    if [ "$_offset" = - ]; then
        _offset=$(line_of "$_dir/told")
        _offset=${_offset:-0}
    fi
    is_number "$_offset" || refuse "The offset is no number."
    printf '%s\n' "$_offset" | put "$_dir/told"
    _task=$(task_json "$_dir" full)
    look_at "$_dir"
    log_from "$_dir" "$_offset"
    printf '{"task": %s, "output": %s, "offset": %s}\n' "$_task" "$OUTPUT" "$NEXT"
}

verb_cancel() {
    _dir="$(directory_of "$1")/update"
    [ -e "$_dir/request" ] && : >"$_dir/cancel"
    echo '{}'
}

verb_scan() {
    find_backend
    ACTED= NAMES= IS_PREPARED= LOCK_WAIT_S=60
    : >"$T/held"
    : >"$T/unseen"
    "${BACKEND}_look"
    # Where the manager tells it, whether each is from a security source stands in a file of its own.
    [ -e "$T/security" ] || awk '{ print "null" }' "$T/planned" >"$T/security"
    _count=$(awk 'END { print NR }' "$T/planned")
    paste "$T/security" "$T/planned" | awk -F '\t' -v count="$_count" "$AWK_JSON"'
        NR > 2000 { exit }
        { rows = rows (NR > 1 ? ", " : "") "{\"name\": " js(substr($2, 1, 200)) ", \"installed\": " js(substr($3, 1, 200)) ", \"available\": " js(substr($4, 1, 200)) ", \"security\": " $1 "}" }
        END { printf "{\"updates\": [%s], \"count\": %d}\n", rows, count }'
}
