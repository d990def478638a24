"""Update guests through qemu-guest-agent alone, by a kit: one file that the host puts into the guest.

A kit is written in the language that its guests are sure to have: POSIX ``sh`` for Linux,
Windows PowerShell 5.1 for Windows (untried on Windows). It is run anew for
each question, as root, by ``guest-exec``::

    sh KIT VERB ARGUMENT…

Each verb prints one JSON object, and nothing else, on its standard output: the statement that the task agent
would answer (``agent/calls.py``), so that the readers of its statements read those of kits too, and nothing
in it is trusted. A refusal is ``{"error": "a sentence"}``. Standard error and the exit code say nothing, but
where nothing was printed. A verb ends within seconds, unless its time is told below; long work is begun, and
told of later. The verbs:

``hello``
    The greeting: ``protocol``, ``agent_version``, ``boot_id``, ``plugin_name``, ``os_name``, ``channels``
    (0), ``tasks`` (the updates it remembers, without packages), ``knows`` (``wire.guest_facts.Ability``).
    Beside it ``task_agent``: whether Innkeeper's task agent is installed in the guest, which then has to
    answer itself; ``limits``: a sentence for each thing that this guest cannot do or tell through the kit;
    and ``away_seconds``: how long it may take to go down or come up, where that is longer than usual.
``facts``
    ``{"facts": {…}}``
``prepare LABEL IDENTIFIER ATTEMPT OFFSET``, the context on standard input
    ``{"preparation": {…}}``. The first call begins a preparation, detached, and the same ``ATTEMPT`` is
    never begun twice. Nothing is touched but caches. ``OFFSET`` is the ``offset`` of the answer before,
    from 0 on.
``stop-preparing IDENTIFIER``
    ``{}``
``start LABEL IDENTIFIER ATTEMPT``, the context on standard input
    ``{"task": {…}}``. A known identifier starts nothing and is told of, unless it failed, changed nothing
    (``unchanged``), and another ``ATTEMPT`` asks. The update is detached: it outlives qemu-guest-agent. It
    never reboots the guest: it ends with SUCCESS, and ``health`` says ``reboot_required``.
``task IDENTIFIER [OFFSET]``
    ``{"task": {…}}``, or null for an unknown one. With ``OFFSET`` also ``output``, the lines that the
    update has printed since that offset, and ``offset``, where to go on; ``-`` is the offset that was last
    asked from. An update that died with its guest, or was killed, has FAILED.
``cancel IDENTIFIER``
    ``{}``: stops an update where that is safe.
``health [history]``, up to five minutes
    ``{"health": {…}}``; with ``history``, ``failed_lately`` is told too. Members of ``details`` that a kit
    cannot tell are empty, and ``limits`` says so.
``evidence UNIT…``
    ``{"evidence": {UNIT: [LINE, …]}}``
``effect``
    ``{"reboot": "why", "stale": [[UNIT, PROGRAM, PATH], …]}``
``restart-units UNIT…``
    ``{"units": […]}``: those whose restart was begun.
``scan``, up to some minutes
    ``{"updates": […], "count": N}``
``sessions``
    ``{"sessions": […]}``
``reboot``, ``shut-down``
    ``{}``, printed before the guest goes down.
``set-time SECONDS``
    ``{}``; seconds since 1970, with a fraction.

What a kit remembers lies in a directory of root's alone, is replaced by renaming, and outlives reboots of the
guest and restarts of qemu-guest-agent.
"""
