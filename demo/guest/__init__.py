"""Build the demo's guest: a small real Debian, made of packages."""
