"""LimitStore: rates that refill evenly up to their burst, budgets that no charge passes."""

import asyncio

import pytest

from forebay.domain.lesson import Lesson
from forebay.ports import Rate
from forebay.testing.conformance.world import World

RATE = Rate(name="mill:requests", per_second=10.0, burst=20.0)


class LimitStoreSuite:
    async def test_a_fresh_rate_grants_its_burst_and_no_more(self, world: World) -> None:
        grants = [(await world.limits.reserve(RATE, amount)).granted for amount in (5.0, 100.0, 1.0)]
        assert grants == [pytest.approx(5), pytest.approx(15), pytest.approx(0)]

    async def test_a_rate_refills_evenly(self, world: World) -> None:
        await world.limits.reserve(RATE, 20.0)
        for _ in range(3):
            world.clock.advance(0.5)
            assert (await world.limits.reserve(RATE, 100.0)).granted == pytest.approx(5)

    async def test_a_rate_never_saves_up_more_than_its_burst(self, world: World) -> None:
        await world.limits.reserve(RATE, 20.0)
        world.clock.advance(3600)
        assert (await world.limits.reserve(RATE, 100.0)).granted == pytest.approx(20)

    async def test_a_used_up_rate_fills_again_after_the_clock_was_set_back(self, world: World) -> None:
        await world.limits.reserve(RATE, 20.0)
        world.clock.advance(-3600)
        assert (await world.limits.reserve(RATE, 100.0)).granted == pytest.approx(0)
        for _ in range(2):
            world.clock.advance(0.5)
            assert (await world.limits.reserve(RATE, 100.0)).granted == pytest.approx(5)

    async def test_a_refusal_says_when_more_will_be_there(self, world: World) -> None:
        await world.limits.reserve(RATE, 20.0)
        refused = await world.limits.reserve(RATE, 1.0)
        assert refused.granted == pytest.approx(0)
        wait = refused.wait_seconds
        assert 0 < wait <= 2
        world.clock.advance(wait + 1e-6)
        assert (await world.limits.reserve(RATE, 1.0)).granted > 0

    async def test_what_is_booked_ahead_comes_in_turn(self, world: World) -> None:
        await world.limits.reserve(RATE, 20.0)
        booked = [await world.limits.reserve(RATE, 5.0, 1.2) for _ in range(4)]
        assert [grant.granted for grant in booked] == pytest.approx([5, 5, 2, 0])
        assert [grant.wait_seconds for grant in booked] == pytest.approx([0.5, 1.0, 1.2, 0.5])
        world.clock.advance(1.2)
        assert (await world.limits.reserve(RATE, 1.0)).granted == pytest.approx(0)

    async def test_what_is_there_is_not_waited_for(self, world: World) -> None:
        grant = await world.limits.reserve(RATE, 20.0, 5.0)
        assert (grant.granted, grant.wait_seconds) == pytest.approx((20, 0))

    async def test_what_was_not_used_can_be_given_back(self, world: World) -> None:
        await world.limits.reserve(RATE, 20.0)
        await world.limits.give_back(RATE, 5.0)
        assert (await world.limits.reserve(RATE, 100.0)).granted == pytest.approx(5)

    async def test_giving_back_never_makes_more_than_the_burst(self, world: World) -> None:
        await world.limits.reserve(RATE, 1.0)
        await world.limits.give_back(RATE, 500.0)
        assert (await world.limits.reserve(RATE, 100.0)).granted == pytest.approx(20)

    async def test_what_was_used_beyond_a_reservation_is_owed(self, world: World) -> None:
        await world.limits.reserve(RATE, 20.0)
        await world.limits.give_back(RATE, -10.0)
        world.clock.advance(1)
        assert (await world.limits.reserve(RATE, 100.0)).granted == pytest.approx(0)
        world.clock.advance(0.5)
        assert (await world.limits.reserve(RATE, 100.0)).granted == pytest.approx(5)

    async def test_rates_of_different_names_are_apart(self, world: World) -> None:
        await world.limits.reserve(RATE, 20.0)
        other = Rate(name="other", per_second=1.0, burst=3.0)
        assert (await world.limits.reserve(other, 100.0)).granted == pytest.approx(3)

    async def test_reservations_at_the_same_time_pass_no_burst(self, world: World) -> None:
        grants = await asyncio.gather(*(world.limits.reserve(RATE, 1.0) for _ in range(50)))
        assert sum(grant.granted for grant in grants) == pytest.approx(20)

    async def test_a_lesson_is_heard_until_it_has_lasted(self, world: World) -> None:
        lesson = Lesson(target="t", teller="a", limit=7, cause="rate", per_second=2.5, pause_seconds=3.0)
        await world.limits.tell([lesson], 5.0)
        assert await world.limits.heard(["t", "other"]) == [lesson]
        assert await world.limits.heard(["other"]) == []
        world.clock.advance(2.0)
        assert [heard.pause_seconds for heard in await world.limits.heard(["t"])] == [1.0]
        world.clock.advance(2.5)
        assert [heard.pause_seconds for heard in await world.limits.heard(["t"])] == [0.0]
        world.clock.advance(0.5)
        assert await world.limits.heard(["t"]) == []

    async def test_a_teller_has_one_lesson_of_a_target_the_last(self, world: World) -> None:
        for limit in (1, 2):
            await world.limits.tell([Lesson(target=name, teller="a", limit=limit) for name in ("t", "u")], 5.0)
        await world.limits.tell([Lesson(target="t", teller="b", limit=3)], 5.0)
        heard = await world.limits.heard(["t", "u"])
        assert [(lesson.target, lesson.teller, lesson.limit) for lesson in heard] == [
            ("t", "a", 2),
            ("t", "b", 3),
            ("u", "a", 2),
        ]

    async def test_a_lesson_that_is_ended_is_heard_no_more(self, world: World) -> None:
        lesson = Lesson(target="t", teller="a", limit=7)
        await world.limits.tell([lesson], 5.0)
        await world.limits.tell([lesson], 0.0)
        assert await world.limits.heard(["t"]) == []

    async def test_a_lesson_ends_when_the_clock_is_set_back(self, world: World) -> None:
        await world.limits.tell([Lesson(target="t", teller="a", pause_seconds=4.0)], 5.0)
        world.clock.advance(-3600)
        assert await world.limits.heard(["t"]) == []
        await world.limits.tell([Lesson(target="t", teller="b")], 5.0)
        assert [lesson.teller for lesson in await world.limits.heard(["t"])] == ["b"]

    async def test_a_budget_is_charged_up_to_its_ceiling(self, world: World) -> None:
        charged = [await world.limits.charge("run", amount, 1.0) for amount in (0.5, 0.25, 0.5, 0.25, 0.25)]
        assert charged == [True, True, False, True, False]
        assert await world.limits.spent("run") == pytest.approx(1.0)

    async def test_a_correction_is_always_taken(self, world: World) -> None:
        await world.limits.charge("run", 1.0, 1.0)
        assert await world.limits.charge("run", -0.5, 0.0)
        assert await world.limits.spent("run") == pytest.approx(0.5)
        assert await world.limits.charge("run", 0.5, 1.0)

    async def test_budgets_are_apart_and_begin_with_nothing(self, world: World) -> None:
        await world.limits.charge("one", 1.0, 1.0)
        assert await world.limits.spent("two") == 0.0

    async def test_charges_at_the_same_time_pass_no_ceiling(self, world: World) -> None:
        charged = await asyncio.gather(*(world.limits.charge("run", 0.125, 1.0) for _ in range(20)))
        assert sum(charged) == 8
        assert await world.limits.spent("run") == pytest.approx(1.0)
