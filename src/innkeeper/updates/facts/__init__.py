"""Facts that phases of an update run found out, journalled for the phases after them.

Their JSON is that of release 0.1.0, key by key: a change of it needs a new version of ``Outcome``, but for
keys that have come since and may be missing.
"""
