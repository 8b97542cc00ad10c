"""Addresses of a store in PostgreSQL."""

import pytest

from forebay.domain.errors import ConfigurationError
from forebay.stores.postgres.place import read_place


def test_our_parameters_are_taken_out_and_the_drivers_stay() -> None:
    place = read_place("postgres://me@host:5433/db?schema=a%22b&sslmode=require&pooler=transaction&timeout=2.5")
    assert place.dsn == "postgresql://me@host:5433/db?sslmode=require"
    assert (place.schema, place.quoted_schema) == ('a"b', '"a""b"')
    assert (place.is_pooled, place.is_listening, place.timeout_seconds) == (True, False, 2.5)


def test_a_bare_address_listens_and_has_a_schema_of_ours() -> None:
    place = read_place("postgresql:///db?host=/run/postgresql")
    assert (place.schema, place.is_pooled, place.is_listening) == ("forebay", False, True)
    assert place.dsn == "postgresql:///db?host=%2Frun%2Fpostgresql"


def test_a_password_is_never_shown() -> None:
    assert read_place("postgresql://me:secret@host/db?password=secret").shown == "postgresql://me@host/db"


@pytest.mark.parametrize(
    "query", ["pooler=session", "listen=maybe", "timeout=soon", "timeout=0", "timeout=-1", "schema="]
)
def test_a_parameter_of_ours_without_sense_is_refused_by_name(query: str) -> None:
    with pytest.raises(ConfigurationError, match=query.split("=")[0]):
        read_place(f"postgresql://host/db?{query}")


def test_another_scheme_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="postgresql://"):
        read_place("mysql://host/db")
