"""Which certificate authorities are trusted: those that Python itself trusts, for clients with a TLS of their own."""

import os
import ssl
from pathlib import Path

_DIRECTORY_VARIABLE = "SSL_CERT_DIR"


def trusted_certificates() -> list[bytes]:
    """Returns the authorities of ``SSL_CERT_FILE``, ``SSL_CERT_DIR`` or else of the system, each in DER.

    Reads some hundred files at most. Empty where the system has none (a slim container).
    """
    context = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    is_named = bool(os.environ.get(_DIRECTORY_VARIABLE))
    if paths.capath and (is_named or not context.get_ca_certs()):  # a directory is searched only as it is needed
        for path in sorted(Path(paths.capath).iterdir()):
            _add(context, path)
    return context.get_ca_certs(binary_form=True)


def _add(context: ssl.SSLContext, path: Path) -> None:
    try:
        context.load_verify_locations(cafile=path)
    except (ssl.SSLError, OSError):  # no certificate, or not ours to read: OpenSSL passes over it as well
        return
