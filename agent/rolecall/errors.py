"""What can go wrong, named by what the caller does next. `__main__` turns these into words and exit codes."""


class Fault(Exception):
    """A foreseeable failure: `message` says what and where, `hint` what to do next.

    `cause` is one word for machines, from the table in docs/reference/causes.md; '' where the message says all.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "", cause: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.cause = cause


class ConfigFault(Fault):
    """The document, a role or the settings are wrong: nothing was changed, trying again will not help (EX_CONFIG)."""

    exit_code = 78


class FetchFault(Fault):
    """The store or the metadata could not be read and nothing was there to fall back on: try again (EX_TEMPFAIL)."""

    exit_code = 75


class ConflictFault(FetchFault):
    """Somebody else has written the object meanwhile: read it, decide anew, write again.

    `doubtful`: or it was an earlier try of ours, whose answer was lost; or nobody, and both have to try again.
    """

    doubtful = False


class HostFault(Fault):
    """This machine did not do what it was asked: roll back, or stay not ready."""

    exit_code = 1


class UnsettledFault(HostFault):
    """This machine is not, or not yet, what the document asks, and no generation is at fault: going back to another
    would not help. Not ready; the next run looks again (EX_TEMPFAIL)."""

    exit_code = 75


class BusyFault(Fault):
    """Another run has the lock, or this one was told to stop: the next run completes the work (EX_TEMPFAIL)."""

    exit_code = 75


class Stopped(BaseException):
    """A signal said stop. No Exception: nothing may take it for a probe's failure or a template's mistake."""

    def __init__(self, signal: str) -> None:
        super().__init__(signal)
        self.fault = BusyFault(f"told to stop by {signal}", "the next run completes what was begun")
