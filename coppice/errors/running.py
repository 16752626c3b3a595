"""How a job was ended by its limits, and faults of the service itself."""

from __future__ import annotations

from coppice.errors.families import InternalError, LimitExceeded


class OutOfMemory(LimitExceeded):
    """The job asked for more memory than its limit."""

    code = "out_of_memory"
    cause = (
        "The job wanted more memory than one job may have: weights, activations of the example batch and a second "
        "copy of the model have to fit."
    )
    remedy = (
        "Use a smaller `input_size` or fewer samples; or run it where the limit is higher (`--job-memory-bytes` of the "
        "service)."
    )


class TimeLimit(LimitExceeded):
    """The job ran longer than its wall-clock or CPU limit."""

    code = "time_limit"
    cause = (
        "The job ran longer than one job may: a large model on few cores, many samples, a sweep of many points, or "
        "code of the model that never ends."
    )
    remedy = (
        "Ask for fewer points or samples; leave `time_limit` out, if you gave one; or have the operator raise the "
        "limit."
    )


class DiskLimit(LimitExceeded):
    """The job wrote more than its limit."""

    code = "disk_limit"
    cause = "The job wrote more than one job may, in results or temporary files."
    remedy = "Ask for fewer points or formats in one job."


class JobCrashed(LimitExceeded):
    """The job's process ended without a valid result: a crash of the model's code, or `os._exit`."""

    code = "job_crashed"
    cause = (
        "The process of the job ended without a word: a crash in native code, or code of the model that ends its "
        "process."
    )
    remedy = (
        "Run the model in your own process. If it runs there, send the job once more; if it crashes again, please "
        "report it."
    )


class WorkerDied(LimitExceeded):
    """The job killed its worker as often as a job may."""

    code = "worker_died"
    cause = "The machine that ran the job died each time it tried, which is most often memory that no limit caught."
    remedy = "Try a smaller model or input. The operator finds the reason in the log under the transaction id."


class NotInstalled(InternalError):
    """A package that a format needs isn't there."""

    code = "not_installed"
    cause = "A package that this format or command needs is an extra, and is not there."
    remedy = "Install it as the message says; on a service that is for its operator to do."
    http_status = 503
    exit_code = 69


class IsolationUnavailable(InternalError):
    """The sandbox can't be had on this machine."""

    code = "isolation_unavailable"
    cause = (
        "The code of uploaded models runs in a sandbox, and this machine offers none, or a weaker one than is required."
    )
    remedy = "Do what the message says for this machine; `coppice doctor` shows what was found and why not more."
    http_status = 503
    exit_code = 69


class ServiceUnavailable(InternalError):
    """The remote service can't be reached or answered nonsense."""

    code = "service_unavailable"
    cause = (
        "No service answered at that address, it answered with something else than Coppice's answers, or it is "
        "shutting down."
    )
    remedy = (
        "Check the address and that `coppice serve` runs there, then try again. Behind a proxy, look at what that one "
        "answers."
    )
    http_status = 503
    exit_code = 69


class DatabaseUnavailable(InternalError):
    """The database can't be reached, or its tables are not those of this version."""

    code = "database_unavailable"
    cause = "The database of the jobs does not answer, or its tables are those of another version."
    remedy = "Try again in a moment. The operator checks the database, and runs `coppice migrate` after an upgrade."
    http_status = 503
    exit_code = 75  # sysexits.h: try again later


class StorageUnavailable(InternalError):
    """The store of uploads and results can't be read or written: full, read-only, or not to be reached."""

    code = "storage_unavailable"
    cause = "The place of uploads and results can't be read or written: it is full, read-only or not to be reached."
    remedy = "Try again later. The operator makes room, or checks the address and keys of the storage."
    http_status = 503
    exit_code = 75  # sysexits.h: try again later
