"""What bounds the acting over time: the breaker, and clocks that are set back."""

from __future__ import annotations

from autoheal.core.gates import RESOLVED_MEMORY
from autoheal.core.moves.service import PolicyLoaded
from autoheal.core.policy import BreakerLimit, Limits
from tests.unit.core.make import T0, Play, alert, resolved, rule, step

# ---- the breaker ----------------------------------------------------------------------------------------------------


def broken() -> Play:
    it = Play.live(rule(cooldown_by=("instance",)), limits=Limits(4, breaker=BreakerLimit(2, 300.0)))
    for n in range(2):
        [rid] = it.act(alert(instance=f"i{n}"), verdict="failed")
        assert it.row(rid).state == "failed"
    return it


def test_the_breaker_opens_after_failures_in_a_row_and_is_decided_again_when_half_open() -> None:
    it = broken()
    assert it.hear(alert(instance="i5"))[0]["reason"] == "breaker_open"
    waits = it.deferred(alert(instance="i5"))
    assert waits is not None and waits.until == T0 + 300.0
    it.now = T0 + 300.0
    [answer] = it.due(firing=True)
    assert answer["result"] == "accepted"
    assert it.hear(alert(instance="i6"))[0]["reason"] == "breaker_open", "one trial at a time"


def test_the_trial_closes_it_or_opens_it_again() -> None:
    it = broken()
    it.now = T0 + 300.0
    it.act(alert(instance="i5"), verdict="failed")
    assert it.hear(alert(instance="i6"))[0]["reason"] == "breaker_open"
    it.now = T0 + 600.0
    it.act(alert(instance="i6"), verdict="healed")
    assert it.state.breakers == {}
    assert [a["result"] for a in it.hear(alert(instance="i7"), alert(instance="i8"))] == ["accepted"] * 2


def test_a_success_between_failures_closes_it_also_without_a_verification() -> None:
    it = Play.live(rule(steps=(step(),), cooldown_by=("instance",)), limits=Limits(4, breaker=BreakerLimit(2, 300.0)))
    for n, status in enumerate(("fail", "ok", "fail")):
        it.outcome(it.start(it.accepted(alert(instance=f"i{n}"))[0]), status)
    assert it.state.breakers["live|r"].failures == 1


def test_what_was_reserved_before_it_opened_does_not_start() -> None:
    it = Play.live(rule(cooldown_by=("instance",)), limits=Limits(4, breaker=BreakerLimit(1, 300.0)))
    one, two = it.accepted(alert(instance="i1"), alert(instance="i2"))
    it.outcome(it.start(one), "fail")
    assert it.may_start(two) is None and it.row(two).reason == "breaker_open"
    it.now += 300.0
    assert it.due(firing=True)[0]["result"] == "accepted"


def test_unknown_does_not_count_for_the_breaker() -> None:
    it = Play.live(rule(cooldown_by=("instance",)), limits=Limits(4, breaker=BreakerLimit(1, 300.0)))
    it.outcome(it.start(it.accepted(alert())[0]), "unknown")
    assert it.state.breakers == {}


# ---- clocks ---------------------------------------------------------------------------------------------------------

TEN_YEARS = 315_360_000.0


def test_a_clock_that_goes_back_ten_years_does_not_block_for_years() -> None:
    it = Play.live()
    it.act(alert(), verdict="healed")
    it.now -= TEN_YEARS
    assert it.hear(alert(starts_at=it.now))[0]["reason"] == "cooldown"
    it.now += 60.0
    assert it.due(firing=True)[0]["result"] == "accepted"


def test_nor_when_the_first_to_notice_is_a_start() -> None:
    it = Play.live(rule(), limits=Limits(4, breaker=BreakerLimit(1, 300.0)))
    it.act(alert(), verdict="failed")
    it.now += 300.0
    [rid] = it.accepted(alert())
    it.now -= TEN_YEARS
    assert it.may_start(rid) is None
    waits = it.deferred(alert())
    assert waits is not None and waits.until is not None and waits.until <= it.now + 300.0


def test_nor_does_a_wait_that_was_over_begin_anew() -> None:
    it = Play.live()
    it.act(alert(), verdict="failed")
    it.hear(alert())
    it.now += 100.0
    it.play(PolicyLoaded(it.policy))
    it.now -= TEN_YEARS
    it.play(PolicyLoaded(it.policy))
    assert len(it.state.due(it.now)) == 1


def test_nor_an_approval_a_verification_or_a_resolve() -> None:
    it = Play.live(rule("asks", "C", approval_timeout=100.0), rule())
    held = it.hear(alert("C"))[0]["remediation_id"]
    [rid] = it.accepted(alert())
    it.outcome(it.start(rid), "ok")
    it.hear(resolved("C", "i9"))
    it.now -= TEN_YEARS
    assert it.hear(alert("C", "i9"))[0]["reason"] == "resolved"
    assert it.state.remediations[rid].verify_until == it.now + 60.0
    it.now += RESOLVED_MEMORY
    it.wake()
    assert it.row(held).state == "expired"
    assert it.hear(alert("C", "i9"))[0]["result"] == "hold"
