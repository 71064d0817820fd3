"""A lab's servers for tests: PostgreSQL that asks for passwords, a broker with users, both with TLS where wished."""

from __future__ import annotations

import datetime
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy import create_engine, make_url, text

from farm.broker import acl
from farm.broker.embedded import find_server, free_port
from farm.processes import spawn, stop
from tests.postgres import EmbeddedPostgres

DATABASE_PASSWORD = "Recognisable-Database-Secret"
BROKER_PASSWORD = "Recognisable-Broker-Secret"
QUEUES = ("a100", "a4000")


class Lab:
    """Servers under recognisable passwords; ``*_url(user)`` are what a lab would put into its files."""

    def __init__(self, folder: Path, *, tls: bool) -> None:
        self.folder = folder
        folder.mkdir()
        self.certificate = make_certificate(folder) if tls else None
        self._host = "localhost" if tls else "127.0.0.1"
        self._port = free_port()
        self._broker = self._start_broker()
        self._postgres = EmbeddedPostgres(system_postgres() if tls else None)
        self._postgres.start()
        self._secure_postgres()

    def broker_url(self, user: str, *, password: str = BROKER_PASSWORD, host: str | None = None) -> str:
        scheme = "rediss" if self.certificate else "redis"
        return f"{scheme}://{user}:{password}@{host or self._host}:{self._port}/0"

    def database_url(self, user: str, *, password: str = DATABASE_PASSWORD, host: str | None = None) -> str:
        url = make_url(self._postgres.url).set(username=user, password=password, host=host or self._host)
        if self.certificate:
            url = url.update_query_dict({"sslmode": "verify-full", "sslrootcert": str(self.certificate)})
        return url.render_as_string(hide_password=False)

    def stop_broker(self) -> None:
        stop(self._broker, 2.0)

    def close(self) -> None:
        stop(self._broker, 2.0)
        self._postgres.remove()

    def _start_broker(self):
        program = find_server()
        users = self.folder / "users.acl"
        users.write_text(acl.file(QUEUES, dict.fromkeys(acl.users(QUEUES), BROKER_PASSWORD)))
        lines = [f"dir {self.folder}", f"aclfile {users}", 'save ""', f"port {0 if self.certificate else self._port}"]
        if self.certificate:
            program = Path(shutil.which("redis-server") or shutil.which("valkey-server") or "")
            lines += [f"tls-port {self._port}", f"tls-cert-file {self.certificate}", "tls-auth-clients no"]
            lines += [f"tls-key-file {self.folder / 'key.pem'}", f"tls-ca-cert-file {self.certificate}"]
        configuration = self.folder / "broker.conf"
        configuration.write_text("\n".join(lines))
        return spawn([program, configuration], log=self.folder / "broker.log")

    def _secure_postgres(self) -> None:
        """From trusting everybody to asking for passwords, over TLS only where there is a certificate."""
        engine = create_engine(self._postgres.url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            data = Path(connection.execute(text("SHOW data_directory")).scalar_one())
            connection.execute(text(f"ALTER ROLE postgres PASSWORD '{DATABASE_PASSWORD}'"))
            connection.execute(text(f"CREATE ROLE farm_worker LOGIN PASSWORD '{DATABASE_PASSWORD}'"))
            if self.certificate:
                owner = data.stat()
                for name, target in (("cert.pem", "server.crt"), ("key.pem", "server.key")):
                    shutil.copy(self.folder / name, data / target)
                    (data / target).chmod(0o600)
                    os.chown(data / target, owner.st_uid, owner.st_gid)
                connection.execute(text("ALTER SYSTEM SET ssl = on"))
            kind = "hostssl" if self.certificate else "host"
            (data / "pg_hba.conf").write_text(f"{kind} all all 127.0.0.1/32 scram-sha-256\n")
            connection.execute(text("SELECT pg_reload_conf()"))
        engine.dispose()


def system_postgres() -> Path | None:
    """The folder of the programs of a PostgreSQL that the system brought."""
    on_path = shutil.which("initdb")
    found = [Path(on_path).parent] if on_path else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((folder for folder in reversed(found) if (folder / "initdb").exists()), None)


def need_tls_servers() -> None:
    """Skip, with the reason, where this machine has no servers that speak TLS; those from wheels do not."""
    redis = shutil.which("redis-server") or shutil.which("valkey-server")
    if redis is None:
        pytest.skip("no redis-server or valkey-server on PATH: apt-get install redis-server")
    if "libssl" not in subprocess.run(["ldd", redis], capture_output=True, text=True).stdout:
        pytest.skip(f"{redis} is built without TLS")
    if system_postgres() is None:
        pytest.skip("no PostgreSQL on PATH or under /usr/lib/postgresql: apt-get install postgresql")


def make_certificate(folder: Path, host: str = "localhost") -> Path:
    """A certificate for the name of a host, signed by itself, and its key beside it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"a lab's {host}")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return folder / "cert.pem"
