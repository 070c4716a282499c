"""Database URIs: which are allowed, and the libpq keywords of one."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import unquote

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

_ENCODED = "%[0-9A-Fa-f]{2}"
_VALUE = rf"([^\x00-\x20\x7f%#&@+=]|{_ENCODED})+"
_SCHEME = r"postgres(ql)?(\+[a-z0-9_]+)?://"
_ADDRESS = (
    rf"{_SCHEME}((?P<user>([^\x00-\x20\x7f%/?#@\[\]:]|{_ENCODED})*)"
    rf"(:(?P<password>([^\x00-\x20\x7f%/?#@\[\]]|{_ENCODED})*))?@)?"
    r"(?P<host>[A-Za-z0-9][-._A-Za-z0-9]*|\[[0-9A-Fa-f:.]+\]"
    rf"|%2[Ff]([^\x00-\x20\x7f%/?#@\[\]:,]|(?!%2[Cc]){_ENCODED})+)(:(?P<port>[0-9]{{1,20}}))?"
    r"(/(?P<dbname>[^\x00-\x20\x7f%?#@]*))?"
)
_OPTION = f"({'|'.join(OPTIONS)})={_VALUE}"
PATTERN = re.sub(r"\?P<\w+>", "", rf"^{_ADDRESS}(\?({_OPTION}(&{_OPTION})*)?)?$")
"""The part of the rules that JSON Schema can express."""

_NOT_A_URI = (
    "This is not a valid URI. Percent-encode special characters in user and password: "
    "@ as %40, # as %23, ? as %3F, / as %2F, : as %3A, [ as %5B, ] as %5D, a space as %20, % as %25."
)
_PROBLEMS = {
    rf"(?!{_SCHEME})": "Only PostgreSQL is supported: postgresql://user:password@host/name.",
    ".*%(?![0-9A-Fa-f]{2})": "The URI contains a % that is not followed by two hexadecimal digits. "
    "Percent-encode % as %25, in a password too.",
    # With SQLAlchemy 2.0 on a VM, Powerlift would create a database of the encoded name.
    r"[^/]*+//[^/?]*+/[^?@%]*+%[^?@]*+(\?|$)": "The database's name contains a percent-encoded "
    "character, which SQLAlchemy 2.0 does not decode. Write it without, or rename the database.",
    r"\w+(\+\w+)?://([^/?]*@)?+([:/?]|$)": "The URI has no host.",
    r"\w+(\+\w+)?://([^/?]*@)?+[^/?@]*(,|%2[Cc])": "The URI must name one host.",
}
"""What a text that is no URI begins with, and the reason to report. The first match counts."""

_TLS = "The app verifies the TLS certificate of every server that is not its own machine"
_REFUSED: dict[str, tuple[str, ...]] = {
    f"{_TLS}.": ("ssl", "requiressl", "sslnegotiation", "sslcompression", "ssl_min_protocol_version"),
    f"{_TLS}: with the system's root certificates, or those of the setting FLEET_DB_ROOT_CERT.":
        ("sslrootcert", "sslcrl", "sslcrldir", "ssl_ca"),
    "Certificates of clients are not supported.": ("sslcert", "sslkey", "sslpassword", "ssl_cert"),
    "The app requires scram-sha-256, or a token over TLS.":
        ("require_auth", "gssencmode", "krbsrvname", "gsslib"),
    "Write it before the ?: postgresql://user:password@host:port/name.": ADDRESS,
    "The URI must name its one server before the ?.":
        ("hostaddr", "service", "servicefile", "load_balance_hosts"),
    "Write the password before the ?.": ("passfile",),
    "PgBouncer requires no option.": ("pgbouncer", "prepare_threshold", "prepareThreshold"),
}  # fmt: skip
_WHY_REFUSED = {name: why for why, names in _REFUSED.items() for name in names}
"""Options of libpq and other clients, and why not. Errors name no others, which may be parts of a
password."""


class InvalidDatabaseUri(ValueError):
    """The message contains no part of the URI but the names of known options."""


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


def database_of(uri: str) -> str:
    """`host:port/name` of a database, the same for every spelling and user. An invalid URI unchanged."""
    try:
        options = libpq_options(uri)
    except InvalidDatabaseUri:
        return uri
    # PostgreSQL's default is a database with the name of the user.
    name = options.get("dbname") or options.get("user", "")
    return f"{server_of(uri)}/{name}"


def normal_host(host: str) -> str:
    """A host, without brackets, in the one form in which hosts are compared."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host.lower().rstrip(".")


def _parts(uri: str) -> tuple[dict[str, str], dict[str, str]]:
    """The keywords before the query, and those in it. Raises InvalidDatabaseUri.

    Accepts only what libpq and SQLAlchemy read in the same way.
    """
    found = re.fullmatch(rf"{_ADDRESS}(\?(?P<query>[^\x00-\x20\x7f#@]*))?", uri)
    if found is None:
        problems = (text for start, text in _PROBLEMS.items() if re.match(start, uri, re.DOTALL))
        raise InvalidDatabaseUri(next(problems, _NOT_A_URI))
    try:
        address = {name: unquote(found[name], errors="strict") for name in ADDRESS if found[name]}
        options = _options(found["query"] or "")
        if address["host"].startswith("["):
            address["host"] = address["host"][1:-1]
            ipaddress.IPv6Address(address["host"])
    except (UnicodeDecodeError, ipaddress.AddressValueError):
        raise InvalidDatabaseUri(_NOT_A_URI) from None
    values = {**address, **options}
    if any(re.search(r"[\x00-\x1f\x7f]", value) for value in values.values()):
        raise InvalidDatabaseUri("The URI contains a control character.")
    # libpq drops spaces at the end of a line of the VM's service file.
    if any(value.endswith(" ") for name, value in values.items() if name != "password"):
        raise InvalidDatabaseUri("Only the password may end with a space.")
    if "port" in address:
        address["port"] = str(int(address["port"]))
        if not 0 < int(address["port"]) < 65_536:
            raise InvalidDatabaseUri("The port must be between 1 and 65535.")
    return address, options


def _options(query: str) -> dict[str, str]:
    """The libpq keywords of a URI's query. Raises InvalidDatabaseUri, UnicodeDecodeError."""
    pairs = [option.partition("=") for option in query.split("&")] if query else []
    options = {name: value for name, _, value in pairs}
    for name in options:
        if name in _WHY_REFUSED:
            raise InvalidDatabaseUri(f"Remove the option {name}. {_WHY_REFUSED[name]}")
    if options.keys() - set(OPTIONS) or len(options) < len(pairs):
        raise InvalidDatabaseUri(
            f"After the ?, the URI may have each of {', '.join(OPTIONS)} once. Percent-encode a ? in "
            "the password."
        )
    if not all(re.fullmatch(_VALUE, value) for value in options.values()):
        raise InvalidDatabaseUri(
            "An option after the ? has no value, or a special character. Percent-encode a space as %20, "
            "+ as %2B, = as %3D."
        )
    return {name: unquote(value, errors="strict") for name, value in options.items()}
