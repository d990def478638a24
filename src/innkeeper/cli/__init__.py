"""Be the terminal's door: one file a noun, one function a verb."""

from innkeeper.cli.app import main as main
