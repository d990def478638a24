"""Say which Innkeeper this is."""

VERSION = "0.1.0"
