"""Which certificate authorities are trusted: those that Python itself trusts, for clients with a TLS of their own."""

import os
import ssl
from pathlib import Path

_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def trusted_certificates() -> list[bytes] | None:
    """Returns the authorities of ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``, or else of the system, each in DER.

    None where nobody named any and the system has none (a slim container): the client's own are right then. Reads some
    hundred files at most. Raises: OSError: a file of them can't be read.
    """
    context = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    if paths.cafile:
        context.load_verify_locations(cafile=paths.cafile)  # what the default context passes over is told here
    is_named = any(os.environ.get(name) for name in _VARIABLES)
    if paths.capath and (os.environ.get("SSL_CERT_DIR") or not context.get_ca_certs()):
        for path in sorted(Path(paths.capath).iterdir()):  # a context itself looks into a folder only as it needs to
            _add(context, path)
    certificates = context.get_ca_certs(binary_form=True)
    return certificates if certificates or is_named else None


def _add(context: ssl.SSLContext, path: Path) -> None:
    try:
        context.load_verify_locations(cafile=path)
    except (ssl.SSLError, FileNotFoundError, IsADirectoryError, PermissionError):  # OpenSSL passes over it as well
        return
