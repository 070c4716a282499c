"""Database URIs: which are allowed, and the libpq keywords of one."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import parse_qsl, unquote, urlsplit

OPTIONS = {
    "application_name": "names the session in pg_stat_activity",
    "channel_binding": "can only make the login stricter",
    "connect_timeout": "seconds; the app has its own limit",
    "keepalives": "TCP keepalives, for a network that drops idle connections",
    "keepalives_count": "as keepalives",
    "keepalives_idle": "as keepalives",
    "keepalives_interval": "as keepalives",
    "options": "settings of the session, such as search_path",
    "sslmode": "for a URI that other programs use too; see SSL_MODES",
    "target_session_attrs": "requires a server that accepts writes",
    "tcp_user_timeout": "as keepalives",
}
"""The options that a URI's query may have, and what they are good for.

All others are refused. They name another server (host, hostaddr, port, service), read files of the app
(passfile, sslcert, sslkey, sslrootcert), repeat what precedes the query (user, password, dbname),
weaken the login (require_auth, gssencmode), or belong to SQLAlchemy.
"""

ADDRESS = ("host", "port", "user", "password", "dbname")
"""The libpq keywords of the part before a URI's query."""

_PLAIN = ("disable", "allow", "prefer")
SSL_MODES = (*_PLAIN, "require", "verify-ca", "verify-full")
"""`require` and `verify-ca` become `verify-full`, which fulfils them. The others permit clear text."""

_OPTION = f"({'|'.join(OPTIONS)})=[^\\x00-\\x20\\x7f#&@]*"
PATTERN = (
    r"^[Pp][Oo][Ss][Tt][Gg][Rr][Ee][Ss]([Qq][Ll])?(\+[-.A-Za-z0-9]*)?://"
    r"([^\x00-\x20\x7f/?#@\[\]]*@)?"
    r"([A-Za-z0-9][-._A-Za-z0-9]*|\[[0-9A-Fa-f:.]+\]|%2[Ff][^\x00-\x20\x7f/?#@\[\]:,]+)(:[0-9]*)?"
    rf"(/[^\x00-\x20\x7f?#@]*)?(\?({_OPTION}(&{_OPTION})*)?)?$"
)
"""The part of the rules that JSON Schema can express."""

_NOT_A_URI = "This is not a valid URI. Percent-encode special characters, such as @ in a password."
_HOST = re.compile(r"[A-Za-z0-9][-._A-Za-z0-9]*|/[^,\x00-\x1f\x7f]+")


class InvalidDatabaseUri(ValueError):
    """The message is one sentence or two, without any part of the URI."""


def libpq_options(uri: str, root_cert: str = "system") -> dict[str, str]:
    """The libpq keywords of a URI, percent-decoded, with the rules of every connection.

    A server that is not this machine must prove by its certificate that it is the named host, and gets
    no password in clear text. `root_cert` is the file of trusted roots, or `system` for OpenSSL's.

    A URI without a password is for an Entra token, which the caller adds as `password`: PostgreSQL on
    Azure asks for it in clear text, within TLS.

    Requires libpq 16. Raises InvalidDatabaseUri.
    """
    address, given = _parts(uri)
    local, sslmode = is_this_machine(address["host"]), given.pop("sslmode", None)
    if sslmode is not None and sslmode not in SSL_MODES:
        raise InvalidDatabaseUri(f"sslmode must be one of {', '.join(SSL_MODES[3:])}, or omitted.")
    if not local and sslmode in _PLAIN:
        raise InvalidDatabaseUri(
            f"sslmode={sslmode} permits connections without TLS, which are for the app's own machine. "
            "Omit sslmode: the default is verify-full."
        )
    # GSSAPI encryption would replace TLS, and with it the check of the certificate.
    fixed = {"gssencmode": "disable"}
    if not local:
        login = "scram-sha-256" if "password" in address else "password"
        fixed |= {"sslmode": "verify-full", "sslrootcert": root_cert, "require_auth": login}
    elif sslmode is not None:
        fixed |= {"sslmode": sslmode, "sslrootcert": root_cert if "verify" in sslmode else ""}
    return {name: value for name, value in {**address, **given, **fixed}.items() if value}


def is_this_machine(host: str) -> bool:
    """Whether a host is a loopback address, `localhost` or the directory of a Unix socket."""
    if host.startswith("/") or host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def server_of(uri: str) -> str | None:
    """`host:port` of a PostgreSQL URI, the same for every spelling; None for an invalid URI."""
    try:
        options = libpq_options(uri)
    except InvalidDatabaseUri:
        return None
    return f"{normal_host(options['host'])}:{options.get('port', '5432')}"


def normal_host(host: str) -> str:
    """A host, without brackets, in the one form in which hosts are compared."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host.lower().rstrip(".")


def _parts(uri: str) -> tuple[dict[str, str], dict[str, str]]:
    """The keywords before the query, and those in it. Raises InvalidDatabaseUri."""
    if re.search(r"[\x00-\x20\x7f#]", uri):
        raise InvalidDatabaseUri(_NOT_A_URI)  # urlsplit would drop control characters silently
    try:
        parts = urlsplit(uri)
        login, _, place = parts.netloc.rpartition("@")
        user, _, password = login.partition(":")
        bracketed = place.startswith("[")
        host, _, rest = place[1:].partition("]") if bracketed else place.partition(":")
        if "," in unquote(place):
            raise InvalidDatabaseUri("The URI must name one host.")
        after = parts.path + parts.query
        if "@" in login + after or ("%" in host and not unquote(host).startswith("/")):
            raise InvalidDatabaseUri(_NOT_A_URI)  # parsers disagree about the host
        if bracketed and rest[:1] not in ("", ":"):
            raise InvalidDatabaseUri(_NOT_A_URI)
        named = {"host": host, "user": user, "password": password, "dbname": parts.path[1:]}
        address = {name: unquote(value, errors="strict") for name, value in named.items() if value}
        if parts.port is not None:
            address["port"] = str(parts.port)
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True, errors="strict")
    except InvalidDatabaseUri:
        raise
    except ValueError:
        raise InvalidDatabaseUri(_NOT_A_URI) from None
    if parts.scheme.partition("+")[0] not in ("postgresql", "postgres"):
        raise InvalidDatabaseUri(
            "Only PostgreSQL is supported: postgresql://user:password@host/name."
        )
    if "host" not in address:
        raise InvalidDatabaseUri("The URI has no host.")
    if not (bracketed or _HOST.fullmatch(address["host"])) or address.get("port") == "0":
        raise InvalidDatabaseUri(_NOT_A_URI)
    if {name for name, _ in pairs} - set(OPTIONS) or len(dict(pairs)) < len(pairs):
        # Without the name of the option, which may be the rest of a password.
        raise InvalidDatabaseUri(
            f"After the ?, the URI may have each of {', '.join(OPTIONS)} once. Percent-encode a ? in "
            "the password."
        )
    options = dict(pairs)
    if any(
        re.search(r"[\x00-\x1f\x7f]", value) for value in (*address.values(), *options.values())
    ):
        raise InvalidDatabaseUri("The URI contains a control character.")
    return address, options
