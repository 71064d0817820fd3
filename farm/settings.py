"""One typed settings object: environment variables FARM_*, then ``FARM_HOME/farm.toml``, then the defaults here."""

from __future__ import annotations

import contextlib
import difflib
import os
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import AfterValidator, Field, SecretStr, ValidationError, ValidationInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from farm import catalog
from farm.domain.errors import RequestError
from farm.domain.parsing import parse_path
from farm.domain.text import decode
from farm.urls import of_file

DATABASE_FILE: Final = "farm.db"  # in home, unless another database is named
LONGEST_SECONDS: Final = 1e8  # three years; the system's clocks take no infinity
Seconds = Annotated[float, Field(gt=0, le=LONGEST_SECONDS, allow_inf_nan=False)]
Wait = Annotated[float, Field(ge=0, le=LONGEST_SECONDS, allow_inf_nan=False)]
RENAMED: Final = {"doorbell_grace_seconds": "message_grace_seconds"}  # settings of 0.1.0
# Variables that are read where they are needed, and what each is for; not keys of farm.toml.
NOT_SETTINGS: Final = {
    "FARM_COMMIT": "the commit that an image or a wheel was built from, where no repository says it",
    "FARM_DEBUG": "with any value, an error that no command foresaw is shown with its traceback",
    "FARM_LOCK_TOKENS": "made by `farm meter` for the command that it runs: it may measure on the locked device",
    "FARM_NVML_LIBRARY": "the library to load instead of libnvidia-ml.so.1",
}


def _expanded(path: Path, info: ValidationInfo) -> Path:
    return parse_path(f"FARM_{str(info.field_name).upper()}", path)


UserPath = Annotated[Path, AfterValidator(_expanded)]  # ~ is the home of whoever runs this


class Settings(BaseSettings):
    """Everything that can be set. Durations are in seconds."""

    model_config = SettingsConfigDict(env_prefix="FARM_", extra="ignore", use_attribute_docstrings=True)

    home: UserPath = Field(default_factory=catalog.home)
    """Where everything of a farm lies: database, spool, catalog of a lab's own, logs."""
    database_url: SecretStr | None = None
    """The database; by default SQLite in home."""
    database_url_file: UserPath | None = None
    """A file that holds the database's URL, so that no process list shows it."""
    broker_url: SecretStr | None = None
    """The broker; by default the embedded one of home."""
    broker_url_file: UserPath | None = None
    """A file that holds the broker's URL, so that no process list shows it."""
    broker_ca: UserPath | None = None
    """The authority that signed a rediss:// broker's certificate; default: the system's."""

    events_urls: SecretStr | None = None
    """Who is told of events: URLs of Apprise's (webhooks, mail), blanks between."""
    events_urls_file: UserPath | None = None
    """A file that holds them, so that no process list shows them."""
    events_gather_seconds: Wait = 60.0
    """Between two messages of one kind; what comes meanwhile goes together."""
    coordinator_gone_seconds: Seconds = 60.0
    """Of silence of the coordinator, before its absence is an event."""

    # Health of devices: a small configuration measured each night and after a change of driver; off unless one of
    # the first two is set.
    health_hour: int | None = Field(default=None, ge=0, le=23)
    """Hour of the night, UTC, at which the health of devices is checked; not checked where neither this nor an interval
    is set."""
    health_interval_seconds: Seconds | None = None
    """Instead of the hour, or beside it: so long after the last check of health."""
    health_configuration: str = "model=sd2 resolution=512 steps=20 precision=fp16 prompts=10"
    """What a check of health measures."""
    health_tolerance_percent: float = Field(default=3.0, gt=0, le=1000, allow_inf_nan=False)
    """A smaller difference from earlier checks is never called drift."""

    lease_seconds: Seconds = 120.0
    """A worker silent for so long has lost its job."""
    heartbeat_seconds: Seconds = 20.0
    """Between two renewals of the lease of a job that runs."""
    tick_seconds: Seconds = 2.0
    """Between two looks of the coordinator at what was lost, at limits and at new results."""
    message_grace_seconds: Seconds = 60.0
    """A message that nobody claimed for so long was lost."""
    refit_seconds: Seconds = 30.0
    """The laws are fitted again at most once in so long; while results come without a pause, refits take no more than a
    tenth of the coordinator's CPU time, but one starts every ten minutes."""
    max_attempts: int = Field(default=3, ge=1, le=100)
    """Tries of a job before it has failed for good."""
    retry_seconds: Wait = 5.0
    """Pause after an attempt that failed, doubled with every one."""
    visibility_timeout_seconds: Seconds = 14400.0
    """After so long the broker itself gives a message again that was taken and not acknowledged."""
    on_sigterm: Literal["requeue", "drain"] = "requeue"
    """What a stopping worker does with its running job."""
    meter: str = "auto"
    """What workers measure with, by its name in workers/meters; checked where a worker is begun."""
    simulated_law: Literal["paper", "traced"] = "paper"
    """What simulated devices follow: Eq. 3 of the paper, or the traced work at rates of their own."""
    foreign_processes: Literal["refuse", "wait", "allow"] = "refuse"
    """What a worker does where another process computes on its device."""
    idle_seconds: Seconds = 20.0
    """Idle baseline on each side of a measurement, on NVML."""
    settle_seconds: Wait = 60.0
    """Before the first baseline, at most so long until power and temperature are steady."""
    repeat_seconds: Wait = 600.0
    """No further pass of a measurement is begun after so long."""
    spool_drain_seconds: Seconds = 5.0
    """Between two looks at results that the database does not have yet."""
    raw_logs_bytes: int = Field(default=20_000_000_000, ge=0)
    """Of power logs in SQL; beyond it the oldest are dropped."""
    log_bytes: int = Field(default=10_000_000, ge=10_000)
    """Of each log of `farm up`, of which five older are kept."""
    tf32: Literal["default", "on", "off"] = "default"
    """TF32 on tensor cores for fp32; torch's default: convolutions use it, matrix products do not."""
    weights_dir: UserPath | None = None
    """Folders of pretrained weights, one a model; otherwise the hub's cache."""
    cpu_threads: int | None = Field(default=None, ge=1, le=1024)
    """Threads of torch on a processor; default: as many as torch takes."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """What long-running commands say."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, _FarmToml(settings_cls)

    @property
    def spool(self) -> Path:
        return self.home / "spool"

    @property
    def run(self) -> Path:
        """Sockets, pid files, the embedded broker's state."""
        return self.home / "run"

    def database(self) -> str:
        """The database URL; SQLite in home by default."""
        return _secret(self.database_url, self.database_url_file) or of_file(self.home / DATABASE_FILE)

    @property
    def names_database(self) -> bool:
        """Whether a database was asked for, rather than the default one."""
        return bool(_secret(self.database_url, None)) or self.database_url_file is not None

    @property
    def has_database(self) -> bool:
        """Whether there is one: one that was asked for, or the default one's file."""
        if self.names_database:
            return True
        try:
            return (self.home / DATABASE_FILE).stat().st_size > 0
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:  # whoever opens it says what is wrong
            return True

    def broker(self) -> str | None:
        """The broker URL, None for the embedded one."""
        return _secret(self.broker_url, self.broker_url_file)

    def events(self) -> str | None:
        """URLs of those who are told of events; None where nobody is."""
        return _secret(self.events_urls, self.events_urls_file)

    def prepare_home(self) -> Path:
        """Create home, readable by its owner only. RequestError where it cannot be written."""
        try:
            self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.home.chmod(0o700)
        except OSError as error:
            raise RequestError(
                "FARM_HOME", str(self.home), f"a folder that can be written ({error.strerror})"
            ) from None
        if not os.access(self.home, os.W_OK | os.X_OK):
            raise RequestError("FARM_HOME", str(self.home), "a folder that can be written")
        return self.home


class _FarmToml(PydanticBaseSettingsSource):
    """``farm.toml`` in the farm's home; unknown keys are refused."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        raise NotImplementedError  # the whole file is read at once, below

    def __call__(self) -> dict[str, Any]:
        path = catalog.home() / "farm.toml"
        try:
            data = tomllib.loads(decode(path.read_bytes()))
        except (FileNotFoundError, NotADirectoryError):  # the home itself is checked where it is needed
            return {}
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
            raise RequestError("farm.toml", str(path), f"readable TOML ({error})") from None
        unknown = sorted(set(data) - set(self.settings_cls.model_fields))
        if unknown:
            known = f"known keys: {', '.join(sorted(self.settings_cls.model_fields))}"
            renamed = RENAMED.get(unknown[0])
            raise RequestError("farm.toml", unknown[0], f"its new name, {renamed}" if renamed else known)
        return data


def load(**overrides: Any) -> Settings:
    """The settings of this process. RequestError, naming the variable, for a value that cannot be.

    Says once, in a line on stderr, which FARM_ variables of the environment nothing reads.
    """
    _warn_of(unread_variables(os.environ))
    try:
        return Settings(**{k: v for k, v in overrides.items() if v is not None})
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0])
        secret = field in Settings.model_fields and SecretStr in get_args(Settings.model_fields[field].annotation)
        raise RequestError(
            f"FARM_{field.upper()}", "(not shown)" if secret else first.get("input"), first["msg"].lower()
        ) from None


def unread_variables(environment: Iterable[str]) -> list[str]:
    """Names that begin with FARM_ and are no settings, each with what was probably meant."""
    known = {f"FARM_{field.upper()}" for field in Settings.model_fields} | set(NOT_SETTINGS)
    renamed = {f"FARM_{old.upper()}": f"FARM_{new.upper()}" for old, new in RENAMED.items()}
    unread = []
    for name in sorted(environment):
        if not name.startswith("FARM_") or name in known:
            continue
        similar = difflib.get_close_matches(name, known, n=1)
        if name in renamed:
            unread.append(f"{name} (now {renamed[name]})")
        else:
            unread.append(f"{name} (did you mean {similar[0]}?)" if similar else name)
    return unread


_warned: set[str] = set()  # of these this process has said it already


def _warn_of(unread: list[str]) -> None:
    if new := [name for name in unread if name not in _warned]:
        _warned.update(new)
        with contextlib.suppress(OSError):
            sys.stderr.write(f"farm: not read, since there is no such setting: {', '.join(new)}\n")


def _secret(value: SecretStr | None, path: Path | None) -> str | None:
    if value is not None and value.get_secret_value():
        return value.get_secret_value()
    if path is None:
        return None
    try:
        return decode(path.read_bytes()).strip() or None
    except UnicodeDecodeError:
        raise RequestError("secret file", str(path), "a file of UTF-8 text") from None
    except OSError as error:
        raise RequestError("secret file", str(path), f"a readable file ({error.strerror})") from None
