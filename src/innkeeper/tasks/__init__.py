"""Run operations that can take long: phases, progress, cancel, wait, recovery, history."""
