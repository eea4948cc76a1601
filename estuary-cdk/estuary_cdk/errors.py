"""Errors, told apart by who must act.

CdkError
    ConfigError            the user           shown verbatim, no traceback, exit 1
    DataError              the data's owner   a file, row or document can't be used; shown verbatim
    ProtocolError          us or the peer
        LocalProtocolError     we broke the protocol: a bug of ours
        RemoteProtocolError    the peer broke the protocol
    ContractError          the author         a connector broke a promise to the kit
    TransientError         nobody             worth retrying; raised when the retries are used up
    Fenced                 nobody             a newer instance of this task took over

A message reads "can't <verb> <object>: <reason with values>": lower case, no full stop, `repr` for
what the user wrote, at most 500 characters of any value, never a secret. What to do about it goes
into `hint`. Facts that code acts on are attributes, never parsed from the message.
"""

from typing import Any

VALUE_CHARS_MAX = 500


class CdkError(Exception):
    """Base of every error the kit raises on purpose.

    `str(error)` is one line: the message, then the hint in parentheses when there is one. Keyword
    arguments become attributes.
    """

    def __init__(self, message: str, *, hint: str | None = None, **context: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.context = context
        for name, value in context.items():
            setattr(self, name, value)

    def __str__(self) -> str:
        line = f"{self.message} ({self.hint})" if self.hint else self.message
        return " ".join(line.split())


class ConfigError(CdkError):
    """What the user asked for can't be done as written; the message says what to change."""


class DataError(CdkError):
    """A file, row or document can't be used as it is; the message says which and why."""


class ProtocolError(CdkError):
    """A message came at a moment or in a shape the Flow protocol doesn't allow."""


class LocalProtocolError(ProtocolError):
    """We were about to break the protocol."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol."""


class ContractError(CdkError):
    """A connector's own code broke a promise it made to the kit."""


class TransientError(CdkError):
    """Something outside failed in a way that may pass by itself."""


class Fenced(CdkError):  # noqa: N818 - a state of affairs rather than a failure
    """A newer instance of this task took over; this one must stop without writing more."""


def shortened(value: object, chars_max: int = VALUE_CHARS_MAX) -> str:
    """Return `repr(value)`, cut in the middle where it is longer than `chars_max`."""
    text = repr(value)
    if len(text) <= chars_max:
        return text
    half = (chars_max - 5) // 2
    return f"{text[:half]} ... {text[-half:]}"
