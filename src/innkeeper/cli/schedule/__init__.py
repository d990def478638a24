"""Scheduled tasks on the command line."""
