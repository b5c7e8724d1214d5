"""What is bounded, and by how much: the constants themselves."""

from importlib import import_module

from ext.generated import Generated, code, table

LIMITS = {
    "mtls_auth.forwarded.MAX_LEAF_CHARACTERS": "characters of a certificate header, as received",
    "mtls_auth.forwarded.MAX_CHAIN_CHARACTERS": "characters of all chain headers of a request together",
    "mtls_auth.verification.MAX_CHAIN": "certificates beside the client's own",
    "mtls_auth.certificate.MAX_CERTIFICATE_BYTES": "bytes of one certificate in DER",
    "mtls_auth.certificate.MIN_RSA_BITS": "bits of an RSA key, at least",
    "mtls_auth.certificate.MAX_RSA_BITS": "bits of an RSA key, at most",
    "mtls_auth.certificate.MAX_SERIAL_BITS": "bits of a serial number",
    "mtls_auth.names.MAX_NAME_LENGTH": "characters of a name",
    "mtls_auth.names.MAX_ATTRIBUTES": "attributes of a subject or an issuer",
    "mtls_auth.cache.MAX_ENTRIES": "parsed certificates that a process remembers (`CACHE_ENTRIES`)",
    "django_mtls.directory.MAX_ENTRIES": "database rows that a process remembers with `MAX_STALENESS`",
    "django_mtls.directory.MAX_ENTRY_AGE": "seconds that such a row is used at most",
    "mtls_auth.certificate_files.MAX_FILE_BYTES": "bytes of a pasted or uploaded file",
}


class LimitTable(Generated):
    """One row a limit."""

    def markdown(self) -> str:
        rows = [(meaning, code(_value(path)), code(path)) for path, meaning in LIMITS.items()]
        return table(("What", "Limit", "Where"), rows)


def _value(path: str) -> str:
    module, _, name = path.rpartition(".")
    return f"{getattr(import_module(module), name):,.0f}".replace(",", " ")
