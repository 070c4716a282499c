"""The database as the hooks leave it, with an app that logs in without a password."""

from __future__ import annotations

import subprocess
from typing import Any
from urllib.parse import urlsplit

import psycopg2

from local.stack import Stack
from tests.harness import eventually
from tests.infra.compiled import INFRA

APP, VMS = "powerlift-fleet-x", "vms"
_ENTRA = """CREATE FUNCTION pgaadauth_create_principal(name text, is_admin boolean, is_mfa boolean)
RETURNS text LANGUAGE plpgsql AS $$
BEGIN EXECUTE format('CREATE ROLE %I LOGIN', name); RETURN name; END $$"""


class DeployedDatabase:
    """The stack's, with the roles of app and VMs. `uri` is the app's.

    The app sends no token to loopback, so the server trusts its role; test_entra_login.py has tokens.
    """

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.uri = (
            f"postgresql://{APP}@{urlsplit(stack.db_uri).netloc.rpartition('@')[2]}/powerlift"
        )
        self.sql(_ENTRA)
        self._hook("principals.sql")
        self._hook("grants.sql")
        # An earlier host of the stack may have created them.
        tables = "SELECT tablename FROM pg_tables WHERE tablename LIKE 'powerlift_fleet%%'"
        for (table,) in self.sql(tables):
            self.sql(f'ALTER TABLE {table} OWNER TO "{APP}"')
        self._trust()

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        database = psycopg2.connect(self._stack.db_uri)
        database.autocommit = True
        try:
            with database.cursor() as cursor:
                cursor.execute(statement, values or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            database.close()

    def _hook(self, script: str) -> None:
        argv = [str(self._stack.psql_bin / "psql"), "--no-psqlrc", "--set", "ON_ERROR_STOP=1"]
        argv += [
            "--set",
            f"app={APP}",
            "--set",
            f"vms={VMS}",
            "--file",
            str(INFRA / "hooks" / script),
        ]
        subprocess.run([*argv, self._stack.db_uri], check=True, stdout=subprocess.DEVNULL)

    def _trust(self) -> None:
        lines = f"host all {APP} all trust\nhost all all all scram-sha-256"
        rows = "SELECT unnest(string_to_array(%s, E'\\n'))"
        self.sql(f"COPY ({rows}) TO PROGRAM 'cat > pg_hba.conf'", lines)
        self.sql("SELECT pg_reload_conf()")
        eventually(self._is_trusted)

    def _is_trusted(self) -> bool | None:
        try:
            psycopg2.connect(self.uri).close()
        except psycopg2.OperationalError:
            return None
        return True
