"""What can go wrong between the operator and the SkyPilot API server."""

from deepseek_operator.facts.text import clean

__all__ = ["SkyPilotError", "SkyPilotRejectedError", "SkyPilotRequestFailedError", "SkyPilotUnavailableError"]


class SkyPilotError(Exception):
    """Base of all errors of this package. Its text is fit to be shown, whatever the server has said."""

    def __init__(self, text: str) -> None:
        super().__init__(clean(text))


class SkyPilotUnavailableError(SkyPilotError):
    """The server does not answer, is shutting down, or is not the version this operator was made for.

    Attributes
    ----------
    maybe_heard
        The request may have reached the server, which may still carry it out.
    """

    def __init__(self, message: str, *, maybe_heard: bool = False) -> None:
        super().__init__(message)
        self.maybe_heard = maybe_heard


class SkyPilotRejectedError(SkyPilotError):
    """The server refused a request before starting it: asking again in the same words will not help.

    Attributes
    ----------
    error_type
        Name of the exception's class on the server; may be empty.
    """

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(f"{error_type}: {message}" if error_type else message)
        self.error_type = error_type
        self.message = message


class SkyPilotRequestFailedError(SkyPilotError):
    """A request was started and ended with an error.

    Attributes
    ----------
    error_type
        Name of the exception's class on the server, such as ``ClusterNotUpError``.
    """

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(f"{error_type}: {message}")
        self.error_type = error_type
        self.message = message
