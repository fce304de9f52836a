"""A fresh database for every test, leased from freshdb's broker."""

from .broker import Broker, Lease
from .database import Database
from .errors import BrokerError, DriverError, FreshdbError, LeaseLostError, NoBrokerError, OverrideError
from .overrides import check_overrides
from .template import Template

__all__ = [
    "Broker",
    "BrokerError",
    "Database",
    "DriverError",
    "FreshdbError",
    "Lease",
    "LeaseLostError",
    "NoBrokerError",
    "OverrideError",
    "Template",
    "check_overrides",
]
