"""An alert's identity: Alertmanager's fingerprint, and the episode."""

from __future__ import annotations

from autoheal.core.alert import Alert, fingerprint


def test_no_labels_have_the_fingerprint_of_the_empty_set() -> None:
    assert fingerprint({}) == "cbf29ce484222325"


def test_a_fingerprint_is_the_one_that_a_real_alertmanager_sent() -> None:
    labels = {
        "alertname": "ServiceDown",
        "cluster": "test",
        "instance": "127.0.0.1:19100",
        "job": "svc",
        "service": "svc",
        "severity": "critical",
    }
    assert fingerprint(labels) == "fc5bafe097c04b3a"


def test_the_order_of_labels_does_not_matter() -> None:
    assert fingerprint({"a": "1", "b": "2"}) == fingerprint({"b": "2", "a": "1"})


def test_where_a_name_ends_and_a_value_begins_matters() -> None:
    assert len({fingerprint({"ab": "c"}), fingerprint({"a": "bc"}), fingerprint({"a": "b", "c": ""})}) == 3


def test_a_lone_surrogate_has_a_fingerprint_too() -> None:
    assert len(fingerprint({"a": "\ud800"})) == 16


def test_an_episode_is_the_fingerprint_and_the_start() -> None:
    alert = Alert("firing", {"alertname": "A"}, {}, 12.3456, "f00")
    assert (alert.alertname, alert.episode, alert.resolved) == ("A", "f00@12.346", False)
    assert Alert("resolved", {}, {}, 1.0, "f").resolved and Alert("resolved", {}, {}, 1.0, "f").alertname == ""
