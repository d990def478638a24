# Room: whether an update has it, by what its package manager says that it takes.

# Fail where the packages do not fit below /usr, or a kernel on a /boot of its own.
expect_room() { # OUTPUT
    expect_free usr "$(awk '
        match($0, /After this operation, [0-9.,]+ [A-Za-z]+ of additional disk space/) || match($0, /After the operation, additional [0-9.,]+ [A-Za-z]+ will be used/) {
            split(substr($0, RSTART, RLENGTH), word, " ")
            n = word[4] == "additional" ? word[5] : word[4]
            u = word[4] == "additional" ? word[6] : word[5]
            gsub(/,/, "", n)
            power = index("BkMGT", substr(u, 1, 1)) - 1
            if (substr(u, 1, 1) == "K") power = 1
            while (power-- > 0) n *= u ~ /iB$/ ? 1024 : 1000 # not every awk of BusyBox has powers
            printf "%.0f", n / 1024; exit }' "$1")"
    cut -f 1 "$T/planned" | sed 's/:.*//' | grep -q -E '^(linux-image-.*|kernel(-core|-default|-rt-core|-uek-core)?|linux-(lts|virt|stable|edge))$' || return 0
    [ "$(stat -L -c %d "$R/boot" 2>/dev/null)" != "$(stat -L -c %d "$R/" 2>/dev/null)" ] || return 0
    # What lies there beside the kernels may be far larger.
    expect_free boot "$(stat -L -c '%s %n' "$R/boot"/vmlinu[xz]* "$R/boot"/init* 2>/dev/null | awk '
        $2 ~ /rescue|fallback|kdump/ { next }
        { kind = $2 ~ /\/init[^\/]*$/ ? 1 : 2; if ($1 + 0 > most[kind] + 0) most[kind] = $1 }
        END { printf "%.0f", (most[1] + most[2]) / 1024 }')"
}

expect_free() { # DIRECTORY KIB
    _free=$(df -P -k "$R/$1" 2>/dev/null | awk 'NR == 2 { printf "%.0f", $2 - $3 }')
    if [ -n "$2" ] && [ -n "$_free" ] && [ "$2" -gt "$_free" ]; then
        fail "No room for the update: it takes $(($2 / 1000)) MB more below /$1, and $((_free / 1000)) MB are free."
    fi
}
