"""Alertmanager's webhook: what is read, what is refused and how, and that the fast way and the careful way agree."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoheal.core.alert import Alert, fingerprint
from autoheal.core.errors import Invalid
from autoheal.core.moves.intake import Refused
from autoheal.sources import alertmanager
from autoheal.sources.alertmanager import CUT, MAX_ALERT, Delivery, parse

NOW = 1_795_000_000.0
GOOD = {"status": "firing", "labels": {"alertname": "A", "instance": "x"}, "annotations": {"autoheal": "true"}}


def body(*alerts: Any, **other: Any) -> bytes:
    return json.dumps({"version": "4", "alerts": list(alerts), **other}).encode()


def refusal(data: bytes) -> Invalid:
    with pytest.raises(Invalid) as error:
        parse(data, NOW)
    return error.value


def one(**changes: Any) -> Alert:
    [found] = parse(body({**GOOD, **changes}), NOW).alerts
    assert isinstance(found, Alert)
    return found


# ---- what is read ----------------------------------------------------------------------------------------------------


def test_a_whole_delivery() -> None:
    times = {"startsAt": "2026-11-21T03:06:04.119Z", "endsAt": "0001-01-01T00:00:00Z"}
    item = {**GOOD, **times, "fingerprint": "00000000000000ab", "generatorURL": "http://x"}
    found = parse(body(item, externalURL="http://am:9093", receiver="autoheal", groupKey="{}:{}", status="firing"), NOW)
    assert (found.origin, found.receiver, found.group_key) == ("http://am:9093", "autoheal", "{}:{}")
    assert found.alerts == [
        Alert("firing", GOOD["labels"], {"autoheal": "true"}, 1795230364.119, "00000000000000ab", None)  # type: ignore[arg-type]
    ]


def test_what_is_missing_is_made_up_for() -> None:
    found = one()
    assert found.starts_at == NOW
    assert found.ends_at is None
    assert found.fingerprint == fingerprint({"alertname": "A", "instance": "x"})
    [bare] = parse(b'{"alerts":[{"labels":{"a":"b"}}]}', NOW).alerts
    assert isinstance(bare, Alert)
    assert (bare.status, bare.annotations, bare.alertname) == ("firing", {}, "")
    assert one(annotations=None, startsAt=None, endsAt="", fingerprint="") == found.__class__(
        "firing",
        GOOD["labels"],
        {},
        NOW,
        found.fingerprint,
        None,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0001-01-01T00:00:00Z", NOW),
        ("0001-01-01T00:00:00.000+01:00", NOW),
        ("1969-12-31T23:59:59Z", NOW),
        ("9999-12-31T23:59:59Z", 253402300799.0),
        ("9999-12-31T23:59:59-23:59", 253402387139.0),
        ("2026-11-21T03:06:04.119119119Z", 1795230364.119119),
        ("2026-11-21T05:06:04+02:00", 1795230364.0),
    ],
)
def test_starts_near_and_far(text: str, seconds: float) -> None:
    assert one(startsAt=text).starts_at == pytest.approx(seconds, abs=1e-5)


@pytest.mark.parametrize("version", ["4", 4])
def test_version_four_is_understood(version: Any) -> None:
    assert parse(body(GOOD, version=version), NOW).alerts


@pytest.mark.parametrize(
    ("raw", "kept"),
    [(r"a\u0000b", r"a\u0000b"), (r"\ud800", r"\ud800"), (r"\udc00x", r"\udc00x"), (r"\ud83d\ude00", "😀")],
)
def test_what_no_database_holds_is_written_out(raw: str, kept: str) -> None:
    data = f'{{"alerts":[{{"labels":{{"alertname":"{raw}","{raw}":"v"}},"annotations":{{"x":"{raw}"}}}}]}}'
    [found] = parse(data.encode(), NOW).alerts
    assert isinstance(found, Alert)
    assert found.alertname == kept
    assert found.labels[kept] == "v"
    assert found.annotations["x"] == kept


@pytest.mark.parametrize(
    "text", ["$(reboot)", "; rm -rf /", "--help", "`id`", "\u202egnp", "\x01\x1b[31m", "a\nb", "😀"]
)
def test_text_that_looks_like_a_command_is_text(text: str) -> None:
    assert one(labels={"alertname": text}).alertname == text


# ---- what conversations need beside --------------------------------------------------------------------------------

PRINT = "00000000000000ab"


def beside(item: dict[str, Any] | None = None, **other: Any) -> Delivery:
    return parse(body({**GOOD, "fingerprint": PRINT, **(item or {})}, **other), NOW)


def test_what_a_group_is_called_what_was_left_out_and_where_it_is_seen() -> None:
    found = beside({"generatorURL": "http://p/graph?g0.expr=up"}, groupLabels={"alertname": "A"}, truncatedAlerts=3)
    assert (found.group_labels, found.truncated) == ({"alertname": "A"}, 3)
    assert found.urls == {PRINT: "http://p/graph?g0.expr=up"}


def test_what_was_not_sent_is_empty() -> None:
    for found in (parse(body(GOOD), NOW), Delivery([])):
        assert (found.group_labels, found.truncated, found.urls) == ({}, 0, {})


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({"a": "b", "n": 1, "": "x", "z": None}, {"a": "b"}),
        ({"a": "\0", "\ud800": "x"}, {"a": r"\u0000", r"\ud800": "x"}),
        ({"a": "x" * 5000}, {"a": "x" * 1000}),
        ({f"l{n}": "v" for n in range(300)}, {f"l{n}": "v" for n in range(50)}),
        (None, {}),
        ([], {}),
        ("x", {}),
        (5, {}),
    ],
)
def test_group_labels_are_bounded_and_refuse_nobody(given: Any, read: dict[str, str]) -> None:
    found = beside(groupLabels=given)
    assert found.group_labels == read
    assert len(found.alerts) == 1


@pytest.mark.parametrize(
    ("given", "read"),
    [(0, 0), (7, 7), (-1, 0), (10**30, 1_000_000), (True, 0), (1.5, 0), ("3", 0), (None, 0), ([], 0)],
)
def test_how_many_were_left_out_is_a_number_whatever_comes(given: Any, read: int) -> None:
    assert beside(truncatedAlerts=given).truncated == read


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "/graph",
        "javascript:alert(1)",
        "ftp://p/",
        "http://",
        "http:///graph",
        "http://p/a b",
        "http://p/\u2028",
        "http://p/a\nb",
        "http://p/\0",
        "http://p/\ud800",
        "http://p/" + "x" * 2000,
        None,
        5,
        ["http://p/"],
    ],
)
def test_what_is_no_link_is_left_out(url: Any) -> None:
    found = beside({"generatorURL": url})
    assert found.urls == {}
    assert [alert.fingerprint for alert in found.alerts if isinstance(alert, Alert)] == [PRINT]


def test_a_link_belongs_to_its_own_alert_whatever_is_refused_beside_it() -> None:
    items = [{"labels": {"n": "1"}, "generatorURL": "http://p/1"}, {"labels": {}, "generatorURL": "http://p/2"}]
    items += [{"labels": {"n": "3"}}, {"labels": {"n": "4"}, "generatorURL": "https://p/4"}]
    found = parse(body(*items, "x"), NOW)
    assert [isinstance(alert, Refused) for alert in found.alerts] == [False, True, False, False, True]
    assert found.urls == {fingerprint({"n": "1"}): "http://p/1", fingerprint({"n": "4"}): "https://p/4"}


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "field"),
    [
        *(
            (data, "body")
            for data in (b"", b"x", b"[]", b"1", b"null", b'"x"', b"{", b"\xff", b'{"alerts":[]}x', b"\xef\xbb\xbf{}")
        ),
        (b'{"alerts":[NaN]}', "body"),
        (b'{"alerts":[' + b"9" * 5000 + b"]}", "body"),
        (b'{"alerts":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "body"),
        *(
            (data, "alerts")
            for data in (b"{}", b'{"alerts":null}', b'{"alerts":{}}', b'{"alerts":[]}', b'{"alerts":"x"}')
        ),
        *((body(GOOD, version=version), "version") for version in ("3", "5", "", 3, 4.5, True, None, [], {})),
        *((body(item), "alerts[0]") for item in (None, 1, "x", [])),
        *((body({**GOOD, "status": status}), "alerts[0].status") for status in ("", "FIRING", None, 1, [], {})),
        *((body({**GOOD, "labels": labels}), "alerts[0].labels") for labels in ({}, None, [], "x", {"": "x"})),
        *((body({**GOOD, "labels": {"a": value}}), "alerts[0].labels.a") for value in (None, 1, 1.5, True, [], {})),
        *((body({**GOOD, "annotations": notes}), "alerts[0].annotations") for notes in ([], "x", 0, False, {"": "x"})),
        (body({**GOOD, "annotations": {"n": 1}}), "alerts[0].annotations.n"),
        (body({**GOOD, "labels": {"alertname": "x" * (MAX_ALERT + 1)}}), "alerts[0].labels"),
        (body({**GOOD, "labels": {"alertname": "A", "x": "y" * 1_000_000}}), "alerts[0].labels"),
        *(
            (body({**GOOD, "fingerprint": value}), "alerts[0].fingerprint")
            for value in ("x", "A" * 16, "0" * 17, 1, [])
        ),
        *(
            (body({**GOOD, "startsAt": value}), "alerts[0].startsAt")
            for value in ("x", "2026-11-21", "2026-11-21T03:06:04", 1, [], True, "2026-13-01T00:00:00Z")
        ),
        (body({**GOOD, "endsAt": "tomorrow"}), "alerts[0].endsAt"),
        (body({"status": "firing"}), "alerts[0].labels"),
    ],
)
def test_what_cannot_be_read_names_its_field(data: bytes, field: str) -> None:
    assert refusal(data).field == field


def test_one_bad_alert_among_good_ones_is_refused_in_its_place() -> None:
    bad = {**GOOD, "labels": {"alertname": "Bad", "n": 1}}
    found = parse(body(*[GOOD] * 50, bad, *[GOOD] * 49), NOW).alerts
    assert len(found) == 100
    assert [index for index, item in enumerate(found) if isinstance(item, Refused)] == [50]
    assert found[50] == Refused(50, "labels.n", "must be a string, not a number", "")


def test_all_bad_is_refused_with_the_first_reason() -> None:
    error = refusal(body({**GOOD, "status": "x"}, {"labels": {}}))
    assert error.field == "alerts[0].status"
    assert "and 1 more" in error.detail


def test_one_oversized_alert_does_not_harm_its_neighbours() -> None:
    big = {**GOOD, "labels": {"x": "y" * (MAX_ALERT + 1)}}
    found = parse(body(GOOD, big, GOOD), NOW).alerts
    assert [isinstance(item, Refused) for item in found] == [False, True, False]
    assert isinstance(found[1], Refused) and found[1].field == "labels"


# ---- what is cut -----------------------------------------------------------------------------------------------------


def test_annotations_that_are_too_long_are_cut_the_longest_first_and_the_alert_is_taken() -> None:
    notes = {"runbook": "http://r", "a": "x" * MAX_ALERT, "autoheal": "true", "b": "y" * 300_000, "c": "z" * 1000}
    found = parse(body(GOOD, {**GOOD, "annotations": notes}), NOW).alerts
    assert found[0] == one()
    cut = found[1]
    assert isinstance(cut, Alert)
    assert (cut.labels, cut.fingerprint) == (one().labels, one().fingerprint)
    assert list(cut.annotations) == list(notes)
    for name in ("runbook", "autoheal", "c"):
        assert cut.annotations[name] == notes[name]
    for name in ("a", "b"):
        kept, mark = cut.annotations[name][: -len(CUT)], cut.annotations[name][-len(CUT) :]
        assert mark == CUT and notes[name].startswith(kept) and len(kept) > 100_000


def test_beside_labels_that_fill_an_alert_nothing_else_is_left() -> None:
    labels = {"alertname": "x" * (MAX_ALERT - len("alertname"))}
    found = one(labels=labels, annotations={"summary": "y" * 100})
    assert (found.labels, found.annotations) == (labels, {})


notes = st.dictionaries(st.text(min_size=1, max_size=30), st.text(max_size=60), max_size=8)


@given(notes, st.integers(0, 400))
def test_what_is_cut_fits_and_what_fits_is_not_cut(pairs: dict[str, str], room: int) -> None:
    found = alertmanager._shortened(pairs, room)
    size = lambda of: sum(len(name) + len(text) for name, text in of.items())  # noqa: E731
    assert size(found) <= room
    assert (found == pairs) == (size(pairs) <= room)
    for name, text in found.items():
        assert text == pairs[name] or (text.endswith(CUT) and pairs[name].startswith(text[: -len(CUT)]))
        assert len(text) <= len(pairs[name])


# ---- both ways -------------------------------------------------------------------------------------------------------

text = st.text(max_size=20)
pairs = st.dictionaries(text.filter(bool), text, max_size=4)
times = st.sampled_from(["", "0001-01-01T00:00:00Z", "2026-11-21T03:06:04.119Z", "2026-11-21T03:06:04+01:00"])
prints = st.sampled_from(["", "0123456789abcdef"])
valid = st.fixed_dictionaries(
    {"labels": pairs.filter(bool)},
    optional={
        "status": st.sampled_from(["firing", "resolved"]),
        "annotations": pairs,
        "startsAt": times,
        "endsAt": times,
        "fingerprint": prints,
        "generatorURL": text | text.map("http://p/{}".format),
        "whatever": st.none() | st.integers() | st.lists(text),
    },
)
deliveries = st.fixed_dictionaries(
    {"alerts": st.lists(valid, min_size=1, max_size=5)},
    optional={
        **dict.fromkeys(("receiver", "groupKey", "externalURL", "status"), text),
        "version": st.just("4"),
        "groupLabels": st.dictionaries(text, text, max_size=60),
        "truncatedAlerts": st.integers(),
    },
)


def whole(found: Delivery) -> tuple[Any, ...]:
    return found, found.group_labels, found.truncated, found.urls


@given(deliveries, st.booleans())
def test_both_ways_agree_on_what_is_valid(data: dict[str, Any], ascii_only: bool) -> None:
    encoded = json.dumps(data, ensure_ascii=ascii_only).encode()
    assert whole(parse(encoded, NOW)) == whole(alertmanager._carefully(encoded, NOW))


def test_large_deliveries_of_small_alerts_go_the_fast_way(monkeypatch: pytest.MonkeyPatch) -> None:
    items = [{"labels": {"alertname": "A", "n": str(n)}, "annotations": {"text": "x" * 500}} for n in range(1000)]
    encoded = body(*items)
    careful = alertmanager._carefully(encoded, NOW)
    monkeypatch.delattr(alertmanager, "_carefully")
    assert len(encoded) > MAX_ALERT
    assert parse(encoded, NOW) == careful


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10)
anything = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4))
odd_alert = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("labels", "annotations", "status", "startsAt", "endsAt", "fingerprint", "generatorURL"),
        anything | pairs | times,
    ),
)
odd = st.fixed_dictionaries(
    {"alerts": st.lists(odd_alert | valid | anything, max_size=4) | anything},
    optional={
        "version": anything | st.just("4"),
        **dict.fromkeys(("receiver", "externalURL", "groupLabels", "truncatedAlerts"), anything),
    },
)


def read(data: bytes) -> Delivery | Invalid:
    try:
        return parse(data, NOW)
    except Invalid as error:
        assert error.field
        assert error.detail
        return error


@given(st.binary(max_size=200))
def test_no_bytes_break_it(data: bytes) -> None:
    read(data)


@given(odd | anything)
def test_no_json_breaks_it(data: Any) -> None:
    found = read(json.dumps(data).encode())
    if isinstance(found, Delivery):
        json.dumps([item.labels for item in found.alerts if isinstance(item, Alert)], ensure_ascii=False).encode()
        json.dumps(whole(found)[1:], ensure_ascii=False).encode()
        assert len(found.alerts) == len(data["alerts"])


@given(deliveries, st.data())
def test_no_damage_breaks_it(data: dict[str, Any], draw: st.DataObject) -> None:
    encoded = bytearray(json.dumps(data).encode())
    at = draw.draw(st.integers(0, len(encoded) - 1))
    encoded[at] = draw.draw(st.integers(0, 255))
    read(bytes(encoded))
