# Networks: who listens in this guest, and which networks it reaches.

# awk's half of addresses, as /proc/net has them.
AWK_ADDRESS='
function hex(text,  i, value) {
    value = 0
    for (i = 1; i <= length(text); i++) value = value * 16 + index("0123456789ABCDEF", substr(text, i, 1)) - 1
    return value
}
# Bytes as they go over the wire.
function wire(digits,  out, i) {
    if (!little) return digits
    for (i = 1; i <= length(digits); i += 8)
        out = out substr(digits, i + 6, 2) substr(digits, i + 4, 2) substr(digits, i + 2, 2) substr(digits, i, 2)
    return out
}
function four(digits) { return hex(substr(digits, 1, 2)) "." hex(substr(digits, 3, 2)) "." hex(substr(digits, 5, 2)) "." hex(substr(digits, 7, 2)) }
function six(digits,  i, w, run, start, best, at, out) {
    if (substr(digits, 1, 24) == "00000000000000000000FFFF") return "::ffff:" four(substr(digits, 25))
    best = 1; at = 0; run = 0
    for (i = 0; i <= 8; i++) {
        w[i] = i < 8 ? tolower(substr(digits, 4 * i + 1, 4)) : "x"
        sub(/^0+/, "", w[i])
        if (w[i] == "") { if (!run) start = i; run++; if (run > best) { best = run; at = start + 1 } } else run = 0
    }
    for (i = 0; i < 8; i++) {
        if (at && i == at - 1) { out = out "::"; i += best - 1; continue }
        out = out (out == "" || out ~ /::$/ ? "" : ":") (w[i] == "" ? "0" : w[i])
    }
    return out
}
'

# Words of /proc/net are of the machine's own byte order: 1 where that is the little one.
is_little() { [ "$(printf '\001\000' | od -An -tu2 | tr -d ' ')" = 1 ] && echo 1; }

any_ports() {
    awk '{ if ($1 ~ /^[0-9]+$/ && $2 ~ /^[0-9]+$/) { printf "[%d, %d]", $1, $2; found = 1 } exit } END { if (!found) printf "[32768, 60999]" }' "$R/proc/sys/net/ipv4/ip_local_port_range" 2>/dev/null || printf '[32768, 60999]'
}

# Listeners without those that may be there for a single question: unconnected UDP sockets that were given any
# port. rpcbind tells of its programs' ports, which are any.
lasting_listeners() {
    awk -F '\t' -v range="$(any_ports | tr -d '[],')" '
        BEGIN { split(range, any, " ") }
        $1 != "udp" || $3 + 0 < any[1] + 0 || $3 + 0 > any[2] + 0 || $5 ~ /^(rpc|yp)/' "$T/listeners"
}

# Lines of protocol, address, port, unit, program: what listens, and whose it is.
listeners() {
    for _protocol in tcp tcp6 udp udp6; do
        [ -r "$R/proc/net/$_protocol" ] && awk -v protocol="${_protocol%6}" -v state="$(case $_protocol in tcp*) echo 0A ;; *) echo 07 ;; esac)" \
            'FNR > 1 && $4 == state { print protocol, $2, $10 }' "$R/proc/net/$_protocol"
    done >"$T/sockets"
    [ -s "$T/sockets" ] || return 0
    # Anybody's open file may be called like a socket, and have lines in its name.
    _plain=
    ls -q / >/dev/null 2>&1 && _plain=q
    ls -ln$_plain "$R/proc"/[0-9]*/fd 2>/dev/null | awk '
        /^\/.*:$/ { pid = $0; sub(/\/fd:$/, "", pid); sub(/^.*\//, "", pid); next }
        NF == 11 && $9 ~ /^[0-9]+$/ && $10 == "->" && $11 ~ /^socket:\[[0-9]+\]$/ { inode = $11; gsub(/[^0-9]/, "", inode); print inode, pid }' >"$T/holders"
    awk -v little="$(is_little)" -v proc="$R/proc" "$AWK_ADDRESS$AWK_UNIT"'
        FILENAME == ARGV[1] { if (!($1 in holder) || $2 + 0 < holder[$1] + 0) holder[$1] = $2; next }
        {
            split($2, where, ":")
            digits = wire(where[1])
            address = length(digits) == 8 ? four(digits) : six(digits)
            unit = program = ""
            if ($3 in holder) {
                pid = holder[$3]
                if (!(pid in units)) { units[pid] = unit_of(proc "/" pid "/cgroup"); programs[pid] = first_line(proc "/" pid "/comm") }
                unit = units[pid]; program = programs[pid]
            }
            printf "%s\t%s\t%d\t%s\t%s\n", $1, address, hex(where[2]), unit, program
        }' "$T/holders" "$T/sockets" | sort -u
}

# A table that does not fit is that of a router, which has its routes from others.
MOST_ROUTES=500
MOST_ROUTES_BYTES=524288

# Whether root runs a program that gives addresses away; anybody may call a program of theirs so.
has_cluster_manager() {
    _owner=$(ls -ldn "$R/proc" | awk '{ print $3 }')
    for _comm in $(grep -l -x -E 'keepalived|pacemakerd|ctdbd|ucarp|vrrpd' "$R/proc"/[0-9]*/comm 2>/dev/null); do
        case $(ls -ldn "${_comm%/comm}" 2>/dev/null | awk '{ print $3 }') in 0 | "$_owner") return 0 ;; esac
    done
    return 1
}

# Put lines of family, network, device, kind and whether it has a link into "routes": default routes, what cards are
# in, and each card. No such file where nobody can say, for a router, and where a cluster's manager gives addresses
# away: which those are is not known here.
routes() {
    rm -f "$T/routes"
    for _table in route ipv6_route; do
        cat "$R/proc/net/$_table" >"$T/$_table" 2>/dev/null
    done
    [ -s "$T/route" ] && [ "$(cat "$T/route" "$T/ipv6_route" | wc -c)" -le $MOST_ROUTES_BYTES ] || return 0
    has_cluster_manager && return 0
    devices >"$T/devices"
    awk -v little="$(is_little)" "$AWK_ADDRESS"'
        function tell(family, network, device) {
            if (!(device in kind)) { kind[device] = "tunnel"; linked[device] = "true" }
            # Programs put their own networks up and take them down: containers, guests of this guest, VPNs.
            if (network == "default" || kind[device] == "card")
                print family "\t" network "\t" device "\t" kind[device] "\t" linked[device]
        }
        # Up, and no reject.
        function leads(flags) { flags = hex(toupper(flags)); return flags % 2 == 1 && int(flags / 512) % 2 == 0 }
        function ones(digits,  i, count) {
            for (i = 1; i <= length(digits); i++) count += substr("0112122312232334", index("0123456789ABCDEF", substr(digits, i, 1)), 1)
            return count + 0
        }
        FILENAME == ARGV[1] { split($0, told, "\t"); kind[told[1]] = told[2]; linked[told[1]] = told[3]; tell("", "", told[1]); next }
        FILENAME == ARGV[2] {
            if (FNR == 1 || NF < 8 || !leads($4)) next
            address = four(wire($2))
            if ($8 ~ /^0+$/) tell("ipv4", "default", $1)
            else if ($3 ~ /^0+$/ && address !~ /^169\.254\./) tell("ipv4", address "/" ones($8), $1)
            next
        }
        {
            if (NF < 10 || $10 == "lo" || !leads($9)) next
            bits = hex(toupper($2))
            if (bits == 0) tell("ipv6", "default", $10)
            else if ($5 ~ /^0+$/ && bits < 128 && $1 !~ /^(fe[89ab]|ff)/) tell("ipv6", six(toupper($1)) "/" bits, $10)
        }' "$T/devices" "$T/route" "$T/ipv6_route" | sort -u >"$T/routes"
    [ "$(wc -l <"$T/routes")" -le $MOST_ROUTES ] || rm -f "$T/routes"
}

json_routes() {
    [ -e "$T/routes" ] || { printf 'null'; return; }
    awk -F '\t' "$AWK_JSON"'{ printf "%s[%s, %s, %s, %s, %s]", (NR > 1 ? ",\n" : "["), js($1), js($2), js($3), js($4), $5 } END { printf "%s", (NR ? "]" : "[]") }' "$T/routes"
}

# Lines of device, kind and whether it has a link; one that is down by the guest's own wish cannot be asked.
devices() {
    for _device in "$R/sys/class/net"/*; do
        [ -d "$_device" ] || continue
        # As the kernel numbers kinds of devices: Ethernet and InfiniBand.
        if is_over_a_card "$_device" 0; then
            _kind=card
        else
            case $(line_of "$_device/type") in 1 | 32) _kind=ethernet ;; *) _kind=tunnel ;; esac
        fi
        if [ "$(line_of "$_device/carrier")" = 0 ]; then _linked=false; else _linked=true; fi
        printf '%s\t%s\t%s\n' "${_device##*/}" $_kind $_linked
    done 2>/dev/null
}

# Also a bridge, bond or VLAN over one.
is_over_a_card() ( # FOLDER DEPTH
    [ -e "$1/device" ] && exit 0
    [ "$2" -lt 4 ] || exit 1
    for _lower in "$1"/lower_*; do
        [ -d "$_lower" ] && is_over_a_card "$_lower" $(($2 + 1)) && exit 0
    done
    exit 1
)
