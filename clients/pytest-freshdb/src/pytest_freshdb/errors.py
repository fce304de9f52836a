"""What this package raises."""

from __future__ import annotations


class FreshdbError(Exception):
    """Any error of this package. `hint` says what to do, where that is known."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\nhint: {self.hint}"


class NoBrokerError(FreshdbError):
    """There is no broker in the environment, or it does not answer."""


class BrokerError(FreshdbError):
    """The broker refused a request, with this HTTP status."""

    def __init__(self, status: int, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint)
        self.args = (status, message, hint)
        self.status = status


class LeaseLostError(FreshdbError):
    """The connection to the broker was lost, and with it the leases that were taken over it."""


class DriverError(FreshdbError):
    """No driver for this engine is installed, or one was named that does not fit."""


class OverrideError(FreshdbError):
    """A dependency was overridden that no route of the app uses, or not in the mounted app whose routes use it."""
