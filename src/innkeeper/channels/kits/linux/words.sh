# Words: JSON, and what is in the context of a booking.

# awk's half of JSON: a text in quotes, whatever its bytes; cut where it is longer than the host reads.
AWK_JSON='
function js(text, i, out, c) {
    text = substr(text, 1, 2000)
    gsub(/[\001-\037\177]/, " ", text)
    if (text !~ /["\\]/) return "\"" text "\""
    out = ""
    for (i = 1; i <= length(text); i++) {
        c = substr(text, i, 1)
        out = out (c == "\"" || c == "\\" ? "\\" c : c)
    }
    return "\"" out "\""
}
'

# A text as JSON.
json() {
    case $1 in
    *[!A-Za-z0-9\ ._:,\;/\(\)=+@%~-]*) printf '%s' "$1" | tr '\000-\037' ' ' | awk "$AWK_JSON"'{ printf "%s", js($0); done = 1 } END { if (!done) printf "\"\"" }' ;;
    *) printf '"%s"' "$1" ;;
    esac
}

# Lines of a file as a JSON list, at most so many.
json_lines() {
    [ -s "$1" ] || { printf '[]'; return; }
    awk -v most="$2" "$AWK_JSON"'
        NR > most { exit }
        { out = out (NR > 1 ? ", " : "") js($0) }
        END { printf "[%s]", out }' "$1"
}

# Lines of three fields, with tabs between them, as a JSON list of lists.
json_rows() {
    [ -s "$1" ] || { printf '[]'; return; }
    awk -F '\t' -v most="$2" "$AWK_JSON"'
        NR > most { exit }
        { printf "%s[%s, %s, %s]", (NR > 1 ? ", " : "["), js(substr($1, 1, 255)), js(substr($2, 1, 255)), js(substr($3, 1, 255)) }
        END { print "]" }' "$1"
}

refuse() {
    printf '{"error": %s}\n' "$(json "$1")"
    exit 0
}

# What a context asks: lines of "package NAME", "reboot WORD", or "bad SENTENCE". What is no JSON object asks
# nothing: everything is updated, with a reboot if needed.
read_context() {
    tr '\000\r\n\t' '    ' <"$1" | awk '
    function blank() { while (substr(s, p, 1) == " ") p++ }
    # Text of a string at p; escapes are none that a name has, so they stay as they are.
    function string(  from, c) {
        from = ++p
        while (p <= n) {
            c = substr(s, p, 1)
            if (c == "\\") p++
            else if (c == "\"") { p++; return substr(s, from, p - from - 1) }
            p++
        }
        broken = 1
        return ""
    }
    function skip(  c, depth) {
        depth = 0
        while (p <= n && !broken) {
            c = substr(s, p, 1)
            if (c == "\"") { string(); if (!depth) return; continue }
            if (c == "[" || c == "{") depth++
            if (c == "]" || c == "}") { if (!depth) return; depth-- }
            if (c == "," && !depth) return
            p++
        }
        if (depth) broken = 1
    }
    function note(line) { out = out line "\n" }
    function names(  c, name) {
        if (substr(s, p, 1) != "[") { skip(); note("bad The packages of the context are not a list of names."); return }
        p++
        while (!broken) {
            blank()
            c = substr(s, p, 1)
            if (c == "]") { p++; return }
            if (c == ",") { p++; continue }
            if (c != "\"") { note("bad The context names what is not the name of a package."); skip(); if (substr(s, p, 1) == "") broken = 1; continue }
            name = string()
            # apt takes a dash at the end for "remove", and more than one word of a package manager a dash at its begin.
            if (name ~ /^[A-Za-z0-9][A-Za-z0-9+._:~-]*$/ && name !~ /-$/ && length(name) < 256) note("package " name)
            else note("bad The context names " name ", which is not the name of a package.")
        }
    }
    function mode(  word) {
        word = substr(s, p, 1) == "\"" ? string() : ""
        if (word == "if_needed" || word == "never" || word == "always") note("reboot " word)
        else { skip(); note("bad The reboot of the context is none of if_needed, never, always.") }
    }
    { s = s $0 }
    END {
        n = length(s); p = 1; blank()
        if (substr(s, p, 1) != "{") exit
        p++
        while (!broken) {
            blank()
            if (substr(s, p, 1) == "}") { whole = 1; break }
            if (substr(s, p, 1) == ",") { p++; continue }
            if (substr(s, p, 1) != "\"") break
            key = string(); blank()
            if (substr(s, p, 1) != ":") break
            p++; blank()
            if (key == "packages") names()
            else if (key == "reboot") mode()
            else skip()
        }
        if (whole && !broken) printf "%s", out
    }'
}

# Sets NAMES and REBOOT; returns 1, with WHY, for a context that asks the impossible.
take_context() {
    NAMES= REBOOT=if_needed WHY=
    [ -s "$1" ] || return 0
    read_context "$1" >"$T/context"
    while read -r _key _value; do
        case $_key in
        package) NAMES="$NAMES $_value" ;;
        reboot) REBOOT=$_value ;;
        bad) WHY=${WHY:-$_value} ;;
        esac
    done <"$T/context"
    [ -z "$WHY" ]
}

# The guest's own names for itself.
os_release() {
    [ -r "$R/etc/os-release" ] || return 0
    awk -F = -v name="$1" '$1 == name { sub(/^[^=]*=/, ""); gsub(/^["\047]|["\047]$/, ""); print; exit }' "$R/etc/os-release"
}

os_name() {
    _os=$(os_release PRETTY_NAME)
    printf '%s' "${_os:-$(uname -s)}"
}
