"""The version of Innkeeper."""

VERSION = "0.1.0"
