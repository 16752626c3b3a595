"""How a job was ended by its limits, and faults of the service itself."""

from __future__ import annotations

from coppice.errors.families import InternalError, LimitExceeded


class OutOfMemory(LimitExceeded):
    """The job asked for more memory than its limit."""

    code = "out_of_memory"


class TimeLimit(LimitExceeded):
    """The job ran longer than its wall-clock or CPU limit."""

    code = "time_limit"


class DiskLimit(LimitExceeded):
    """The job wrote more than its limit."""

    code = "disk_limit"


class JobCrashed(LimitExceeded):
    """The job's process ended without a valid result: a crash of the model's code, or `os._exit`."""

    code = "job_crashed"


class WorkerDied(LimitExceeded):
    """The job killed its worker as often as a job may."""

    code = "worker_died"


class NotInstalled(InternalError):
    """A package that a format needs isn't there."""

    code = "not_installed"
    http_status = 503
    exit_code = 69


class IsolationUnavailable(InternalError):
    """The sandbox can't be had on this machine."""

    code = "isolation_unavailable"
    http_status = 503
    exit_code = 69


class ServiceUnavailable(InternalError):
    """The remote service can't be reached or answered nonsense."""

    code = "service_unavailable"
    http_status = 503
    exit_code = 69


class DatabaseUnavailable(InternalError):
    """The database can't be reached, or its tables are not those of this version."""

    code = "database_unavailable"
    http_status = 503
    exit_code = 75  # sysexits.h: try again later


class StorageUnavailable(InternalError):
    """The store of uploads and results can't be read or written: full, read-only, or not to be reached."""

    code = "storage_unavailable"
    http_status = 503
    exit_code = 75  # sysexits.h: try again later
