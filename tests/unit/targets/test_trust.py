"""Whom clients trust that bring a TLS of their own: whom Python trusts."""

import ssl
from pathlib import Path

import pytest
import trustme

from forebay.targets.trust import trusted_certificates


@pytest.fixture
def authorities(tmp_path: Path) -> tuple[Path, Path]:
    """A file with one authority, and a folder with another and what is none."""
    file, folder = tmp_path / "one.pem", tmp_path / "folder"
    trustme.CA(key_type=trustme.KeyType.ECDSA).cert_pem.write_to_path(str(file))
    folder.mkdir()
    trustme.CA(key_type=trustme.KeyType.ECDSA).cert_pem.write_to_path(str(folder / "two.pem"))
    (folder / "README").write_text("no certificate")
    (folder / "gone.pem").symlink_to("nowhere.pem")
    (folder / "more").mkdir()
    return file, folder


def in_der(file: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(file.read_text())


def test_the_file_of_the_environment_is_read(authorities: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    file, _ = authorities
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    assert trusted_certificates() == [in_der(file)]


def test_the_folder_of_the_environment_is_read_and_what_is_no_certificate_passed_over(
    authorities: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, folder = authorities
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    monkeypatch.setenv("SSL_CERT_DIR", str(folder))
    assert set(trusted_certificates()) == {in_der(file), in_der(folder / "two.pem")}


def test_a_named_file_that_is_missing_trusts_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert trusted_certificates() == []


def test_a_named_file_that_is_no_certificate_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.pem").write_text("no certificate")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "broken.pem"))
    with pytest.raises(OSError, match="CERT"):
        trusted_certificates()


def test_a_system_without_authorities_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    none = ssl.DefaultVerifyPaths(None, None, "SSL_CERT_FILE", "/none", "SSL_CERT_DIR", "/none")
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: none)
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", lambda *_: None)
    assert trusted_certificates() is None
