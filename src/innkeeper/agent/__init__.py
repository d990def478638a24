"""Run inside the guest: book, start and report updates. Standard library only, Python 3.6 grammar."""
