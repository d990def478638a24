# Verbs.

main() {
    _verb=${1:-}
    [ $# -gt 0 ] && shift
    mkdir -p "$STATE/updates" 2>/dev/null || refuse "The guest cannot write to $STATE: its disk is full, or can only be read."
    chmod 700 "$STATE"
    if [ "$_verb" = work ]; then
        work "$1"
        exit 0
    fi
    scratch
    # What is printed on the way is no part of the answer.
    BACKEND=scripts ACTED=
    case $_verb in
    hello) verb_hello ;;
    facts) verb_facts ;;
    prepare) [ $# -eq 4 ] && verb_prepare "$@" ;;
    stop-preparing) [ $# -eq 1 ] && verb_stop_preparing "$@" ;;
    start) [ $# -eq 3 ] && verb_start "$@" ;;
    task) [ $# -ge 1 ] && verb_task "$@" ;;
    cancel) [ $# -eq 1 ] && verb_cancel "$@" ;;
    health) verb_health "$@" ;;
    evidence) verb_evidence "$@" ;;
    effect) verb_effect ;;
    restart-units) verb_restart_units "$@" ;;
    scan) verb_scan ;;
    sessions) verb_sessions ;;
    reboot) go_down reboot reboot ;;
    shut-down) go_down poweroff poweroff ;;
    set-time) [ $# -eq 1 ] && verb_set_time "$@" ;;
    *) refuse "This kit does not know the request $_verb." ;;
    esac || refuse "The request cannot be read: $_verb with $# words."
}

main "$@"
exit 0
