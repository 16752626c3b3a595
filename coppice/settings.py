"""Every setting of the service, and the only reader of the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from coppice.errors import ParameterInvalid

MIB = 1024 * 1024

#: The folder of coppice itself, wherever it is installed.
PACKAGE = Path(__file__).resolve().parent


class Settings(BaseModel):
    """Settings of one service; each is read from `COPPICE_<NAME>` when it is not given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_dir: Path = Field(default=Path("coppice-data"), description="folder of the database, the uploads and results")
    database_url: str | None = Field(
        default=None, repr=False, description="postgresql://... of a fleet; unset: a SQLite file in the data folder"
    )
    storage_url: str | None = Field(default=None, description="s3://bucket/prefix of a fleet; unset: the data folder")
    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8443, ge=0, le=65535, description="port to listen on")
    tls: bool = Field(default=True, description="serve https")
    tls_cert: Path | None = Field(default=None, description="certificate (PEM); self-signed when absent")
    tls_key: Path | None = Field(default=None, description="private key (PEM) of tls_cert")
    keys_required: bool | None = Field(default=None, description="ask for API keys; unset: unless on loopback only")
    isolation: str = Field(
        default="auto",
        pattern="^(auto|bwrap|landlock|none)$",
        description="sandbox of the jobs; auto: the strongest that works here, of bwrap and landlock",
    )
    require_isolation: str | None = Field(
        default=None, pattern="^[ABC]$", description="refuse to start below this level of isolation: A, B or C"
    )
    workers: int = Field(default=1, ge=0, le=64, description="worker processes, for each queue")
    queues: str = Field(
        default="cpu", pattern=r"^[a-z][a-z0-9_-]*(,[a-z][a-z0-9_-]*)*$", description="queues, separated by commas"
    )
    drain_seconds: int = Field(
        default=0, ge=0, description="how long a worker that is told to stop may go on with its job, seconds"
    )
    heartbeat_seconds: float = Field(default=5, gt=0, description="time between two signs of life, seconds")
    dead_after_seconds: float = Field(
        default=30, gt=0, description="silence after which a process of the fleet counts as dead, seconds"
    )
    warm: int = Field(default=1, ge=0, le=16, description="sandboxes started ahead per worker")
    max_upload_bytes: int = Field(default=4096 * MIB, gt=0, description="largest upload, all parts together, bytes")
    uploads_per_client: int = Field(default=8, gt=0, description="uploads that one client may have under way at once")
    upload_stall_seconds: int = Field(
        default=60, gt=0, description="silence after which an upload or a download is given up, seconds"
    )
    uploads_seconds: int = Field(
        default=86_400,
        gt=0,
        description="how long an upload may take; what is older and has no job is deleted, seconds",
    )
    downloads: str = Field(
        default="stream",
        pattern="^(stream|redirect)$",
        description="downloads from S3: through the service, or by a redirect to a signed address",
    )
    retention_seconds: int = Field(default=43_200, gt=0, description="how long a result stays downloadable, seconds")
    record_seconds: int = Field(
        default=604_800, gt=0, description="how long after its end a job is remembered at all, seconds"
    )
    audit_seconds: int = Field(default=7_776_000, gt=0, description="how long the audit log is kept, seconds")
    calls_per_minute: int = Field(default=600, gt=0, description="calls of one client in a minute")
    jobs_per_client: int = Field(default=1000, gt=0, description="jobs of one client, queued and running")
    bytes_per_client: int = Field(
        default=64 * 1024 * MIB, gt=0, description="what one client may have stored at once, bytes"
    )
    webhook_private: bool = Field(
        default=False, description="let webhooks go to addresses of private networks and of this machine"
    )
    log_format: str = Field(default="text", pattern="^(text|json)$", description="lines of the log")
    metrics_port: int | None = Field(
        default=None, ge=0, le=65535, description="port on which `work` serves /metrics, on the host's address"
    )
    job_memory_bytes: int = Field(default=4096 * MIB, gt=0, description="address space of one job, bytes")
    job_seconds: int = Field(default=900, gt=0, description="wall-clock limit of one job, seconds")
    job_cpu_seconds: int = Field(default=900, gt=0, description="CPU limit of one job, seconds")
    job_output_bytes: int = Field(default=4096 * MIB, gt=0, description="largest file that a job may write, bytes")
    job_processes: int = Field(default=64, gt=0, description="processes and threads of one job")
    max_attempts: int = Field(default=3, gt=0, description="starts of one job before it is given up")
    litert: Path | None = Field(
        default=None,
        description="environment with TensorFlow and LiteRT, for format=tflite; unset: .envs/litert beside the package",
    )

    @property
    def queue_names(self) -> tuple[str, ...]:
        """The queues: of an API those that jobs may be sent to, of a worker those that it takes jobs from."""
        return tuple(dict.fromkeys(self.queues.split(",")))

    @property
    def fleet(self) -> bool:
        """Whether other machines share the database."""
        return self.database_url is not None

    @property
    def loopback_only(self) -> bool:
        """Whether nothing but this machine can reach the service."""
        return is_loopback(self.host)

    @property
    def asks_for_keys(self) -> bool:
        """Whether a call needs an API key."""
        return not self.loopback_only if self.keys_required is None else self.keys_required

    @property
    def litert_folder(self) -> Path | None:
        """The environment with TensorFlow and LiteRT; None where there is none."""
        folder = self.litert or PACKAGE.parent / ".envs" / "litert"
        return folder.absolute() if (folder / "bin" / "python").exists() else None

    def refuse_unsafe(self) -> None:
        """Raise ParameterInvalid for jobs without a sandbox that others could send."""
        if self.isolation == "none" and (self.fleet or not self.loopback_only):
            others = "a fleet" if self.fleet else self.host
            raise ParameterInvalid(
                "--isolation none runs the code of whoever sends a job, unprotected, so it serves this machine only,"
                f" not {others}. Use --host 127.0.0.1 and no COPPICE_DATABASE_URL, or install bubblewrap and leave"
                " --isolation out.",
                field="isolation",
            )

    def environment(self) -> dict[str, str]:
        """The variables from which `load` makes these settings again, in another process."""
        given = {name: value for name, value in self if value is not None}
        return {f"COPPICE_{name.upper()}": str(value) for name, value in given.items()}


def litert_environment() -> Path | None:
    """The environment with TensorFlow and LiteRT, for the engine, which is told of no other setting."""
    told = os.environ.get("COPPICE_LITERT")
    return Settings(litert=Path(told) if told else None).litert_folder


def is_loopback(host: str) -> bool:
    """Whether an address, or a name, is this machine's own and reachable from nowhere else."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:  # a host name: it may resolve to anything
        return False


def load(environment: Mapping[str, str] | None = None, **given: object) -> Settings:
    """Settings from the arguments that are not None, else from the environment, else the defaults."""
    source = os.environ if environment is None else environment
    values: dict[str, object] = {
        name: source[f"COPPICE_{name.upper()}"] for name in Settings.model_fields if f"COPPICE_{name.upper()}" in source
    }
    values |= {name: value for name, value in given.items() if value is not None}
    return Settings.model_validate(values)


class Remote(BaseModel):
    """A service elsewhere and a key to it, for the client."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    server: str | None = None
    client_id: str | None = None
    client_secret: str | None = Field(default=None, repr=False)


def remote(environment: Mapping[str, str] | None = None, **given: str | None) -> Remote:
    """The service of the arguments that are not None, else of `COPPICE_<NAME>`.

    A key of the environment belongs to the service that is named there, or to whatever service is named in its place.
    """
    source = os.environ if environment is None else environment
    values = {name: source.get(f"COPPICE_{name.upper()}") or None for name in Remote.model_fields}
    return Remote.model_validate(values | {name: value for name, value in given.items() if value is not None})
