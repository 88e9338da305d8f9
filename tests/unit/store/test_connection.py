"""What is told of a database: where it is, that it says nothing, that it does not let us in; never user or password."""

from __future__ import annotations

import pytest

from autoheal.app import assembly
from autoheal.core.errors import Permanent
from autoheal.engine.ports import StoreUnavailable
from autoheal.store.connection import parsed_url, reason, turned_away, where

psycopg = pytest.importorskip("psycopg")

URL = "postgresql://user:hush@db:5432/heal?password=hush"
FAILED = 'connection failed: connection to server at "10.0.0.1", port 5432 failed: FATAL:  '


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (URL, "postgresql://db:5432/heal"),
        ("postgres://user@db/heal", "postgresql://db/heal"),
        ("postgresql://u:p@[::1]:5432/heal", "postgresql://[::1]:5432/heal"),
        ("postgresql:///heal?host=/run/pg&user=u", "postgresql:///run/pg/heal"),
        ("sqlite:////data/ledger.db", "/data/ledger.db"),
    ],
)
def test_where_a_ledger_is_without_user_and_password(url: str, told: str) -> None:
    assert where(url) == told


def test_a_host_that_is_silent_is_named() -> None:
    said = reason(psycopg.OperationalError("connection timeout expired"), parsed_url(URL))
    assert said == "connection timeout expired (db:5432 does not answer)"


def unavailable(said: str) -> StoreUnavailable:
    error = StoreUnavailable(f"the ledger cannot be opened: {said}")
    error.__cause__ = psycopg.OperationalError(said)
    return error


@pytest.mark.parametrize(
    ("said", "fix"),
    [
        ('password authentication failed for user "user"', "user and password"),
        ('no pg_hba.conf entry for host "h", user "user", database "heal"', "pg_hba.conf"),
        ('role "user" is not permitted to log in', "user and password"),
        ('database "heal" does not exist', "create it, or correct DATABASE_URL"),
        ('role "user" does not exist', "no role"),
    ],
)
def test_who_is_turned_away_does_not_wait(said: str, fix: str) -> None:
    attempts = []

    def work() -> None:
        attempts.append(1)
        raise unavailable(FAILED + said)

    with pytest.raises(Permanent, match=fix) as caught:
        assembly.patiently(work, url=URL)
    assert len(attempts) == 1 and "postgresql://db:5432/heal does not let us in" in str(caught.value)
    assert "hush" not in str(caught.value) and "user@" not in str(caught.value)


@pytest.mark.parametrize(
    "said",
    [
        "the database system is starting up",
        "sorry, too many clients already",
        'relation "database" does not exist',
        "Connection refused",
    ],
)
def test_what_may_pass_is_waited_for(said: str) -> None:
    assert turned_away(unavailable(FAILED + said), URL) == ""
    with pytest.raises(StoreUnavailable):
        assembly.patiently(lambda: (_ for _ in ()).throw(unavailable(FAILED + said)), seconds=0.0, url=URL)
