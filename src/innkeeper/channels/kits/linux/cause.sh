# Causes: the line that says why a program failed, in all that it printed: rarely the last one.

cause() {
    tr '\r' '\n' <"$1" 2>/dev/null | awk '
    BEGIN {
        # Each kind, and how many lines below it belong to it; the first kind that is found wins.
        add("dpkg: error processing (package|archive) ", 1)
        add("scriptlet failed, exit status|%[a-z]+ script failed|rror in [^ ]+ scriptlet", 0)
        add("non-fatal [a-z]+ scriptlet failure|command failed to execute correctly", 0)
        add(": (script )?exited with error", 0)
        add("e: could not get lock|e: unable to acquire|was locked by another process", 0)
        add("is locked by the application with pid|can.t create transaction lock", 0)
        add("there are no enabled repositories", 0)
        add("digest verification failed for file|not found on medium|valid metadata not found", 0)
        add("problem retrieving files from", 1)
        add("is not signed|is expired|no_pubkey|gpg check failed|signature verification failed", 0)
        add("failed to fetch |curl error|failed retrieving file", 0)
        add("incorrect checksum|cannot download|is corrupted", 0)
        add("^error: unable to select packages", 2)
        add("^detected [0-9]+ file conflict", 5)
        add("^ ?[^ ]+ : (pre)?depends: |nothing provides|conflicts with file|transaction test error", 1)
        add("^problem(: | [0-9]+: )", 2)
        add("^error message: ", 0)
        script = "script|exited with error|dpkg: error processing|command failed to execute"
        # What breaks anything; the first explains those below it.
        roots = split("out of memory|cannot allocate memory|oom-kill;no space left on device|disk quota exceeded;input/output error|i/o error;read-only file system;kernel panic;killed$;segmentation fault", root, ";")
        heading = "^ *(running scriptlet|preparing|upgrading|installing|cleanup|verifying|obsoleting) *:|^installation of |^additional rpm output|^output of |^ *executing |^\\([0-9]+/[0-9]+\\)|^rpm: |^(setting up|unpacking|preparing to|processing triggers|removing) |^\\(reading database|^(upgrading|installing|removing) "
        empty = "sub-process .* returned an error code|some index files failed|unable to fetch some archives|held broken packages|install failed|erase skipped|all mirrors were tried|transaction failed|please see the above|close this appl|errors were encountered while processing|^error: *$|errors occurred, no packages|failed to commit transaction|failed to synchronize"
        error = "^(e:|error|dpkg: error|dpkg-deb: error)"
    }
    function add(pattern, below) { kinds++; kind[kinds] = pattern; more[kinds] = below }
    # The rank of a line among the roots; 0 for one that is none.
    function rank(text, r) {
        for (r = 1; r <= roots; r++) if (text ~ root[r]) return r
        return 0
    }
    function cut(text) {
        gsub(/[ \t]+/, " ", text); sub(/^ /, "", text); sub(/ $/, "", text); sub(/^- /, "", text)
        if (length(text) <= 300) return text
        text = substr(text, 1, 300)
        sub(/ [^ ]*$/, "", text)
        return text " ..."
    }
    /[^ \t]/ { sub(/[ \t]+$/, ""); line[++lines] = $0; low[lines] = tolower($0) }
    END {
        for (k = 1; k <= kinds && !at; k++)
            for (i = 1; i <= lines; i++) if (low[i] ~ kind[k]) { at = i; below = more[k]; break }
        for (i = 1; i <= lines; i++) if ((r = rank(low[i])) && (!rooted || r < best)) { rooted = i; best = r }
        if (at) {
            for (i = at; i <= at + below && i <= lines; i++) text = text (i > at ? " " : "") line[i]
            if (low[at] ~ script) {
                for (i = at - 1; i >= 1 && i >= at - 3; i--) {
                    if (low[i] ~ heading) break
                    said = line[i] (said == "" ? "" : " ") said
                    if ((r = rank(low[i])) && (worst == "" || r <= least)) { worst = line[i]; least = r }
                }
                if (worst != "") said = worst
                if (said != "") text = text "; it said: " said
            }
            print cut(text); exit
        }
        if (rooted) { print cut(line[rooted]); exit }
        for (i = lines; i >= 1 && last == ""; i--) if (low[i] ~ error && low[i] !~ empty) last = line[i]
        for (i = lines; i >= 1 && last == ""; i--) if (low[i] !~ empty) last = line[i]
        if (last == "") last = lines ? line[lines] : "it printed nothing"
        print cut(last)
    }'
}

# The programs that the kernel has killed for want of memory since a step began, in words that follow a sentence.
killed_since() { # DIRECTORY
    read -r _boot _up 2>/dev/null <"$1/since" && [ "$_boot" = "$(boot_id)" ] || return 0
    # The kernel says how long after the boot it wrote a line, by a clock of its own.
    within 10 "$(path_of dmesg)" 2>/dev/null | awk -v since="$((_up - 2))" '
        /[Oo]ut of memory: Kill(ed)? process [0-9]+ \(/ {
            sub(/^<[0-9]+>/, "")
            if (substr($0, 1, 1) != "[" || substr($0, 2) + 0 < since) next
            sub(/^.*[Oo]ut of memory: Kill(ed)? process /, "")
            pid = $1
            sub(/^[0-9]+ \(/, ""); sub(/\)[^)]*$/, "")
            if ((name = $0 " (process " pid ")") in seen) next
            seen[name] = 1
            if (++count <= 5) out = out (count > 1 ? ", " : "") name
        }
        END { if (count) printf "; the kernel ran out of memory and killed %s", out }'
}

# What is full, in words that follow a sentence about it.
shortage() { # SENTENCE
    case $1 in *"o space left on device"* | *"isk quota exceeded"* | *"not enough free space"*) ;; *) return ;; esac
    awk '$3 ~ /^(ext[234]|xfs|btrfs|f2fs|jfs|reiserfs|zfs|bcachefs|vfat|tmpfs|overlay)$/ { print $2 }' "$R/proc/self/mounts" 2>/dev/null | sort -u | while read -r _place; do
        within 10 df -P -k "$R$_place" 2>/dev/null | awk -v place="$_place" '
            NR == 2 && $2 > 0 { left = $2 - $3; if (left < 4096 || left < $2 / 50) printf "; no room on %s (%.0f MB)\n", place, $2 * 1.024 / 1000 }'
    done | head -n 5 | tr -d '\n'
}
