"""The three kinds of failure: temporary (try again), permanent (do not), unknown (nobody can say)."""


class AutohealError(Exception):
    """Base of every error that Autoheal raises on purpose; its text is meant for the person who reads it."""


class Temporary(AutohealError):
    """It did not happen, and the same call may succeed later."""


class Permanent(AutohealError):
    """It did not happen, and will not without a change."""


class Unknown(AutohealError):
    """It may or may not have happened; it is never tried again without a look at reality."""


class Invalid(Permanent):
    """What was given cannot be used. `field` names the place, such as ``labels.service``."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field
        self.detail = message


class Conflict(Permanent):
    """The thing exists but is not in a state that allows this, for example approving what has ended."""


class NotFound(Permanent):
    """There is no such thing."""
