"""The one error of this package: its text is the whole message a person needs."""


class ToolchainError(Exception):
    """A program cannot be had here. The text names it, says why, and what to do."""
