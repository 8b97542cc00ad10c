"""What a run's worker has called: submissions, and not the looks at what was accepted."""

from msgspec.structs import replace

from forebay.domain.inference import Call
from forebay.ports import SlowTarget
from forebay.runs.counted import CallCount, CountedTarget
from forebay.testing.targets import ScriptedTarget, answer, pending

CALL = Call(job_id="job_1", attempt=1, endpoint="/v1/videos", body=b"{}", timeout_seconds=1)


async def test_a_poll_is_no_call_and_a_withdrawal_is_passed_on() -> None:
    target, count = ScriptedTarget("t", [pending("{}"), pending("{}"), answer()]), CallCount()
    counted = CountedTarget(target, count)
    assert isinstance(counted, SlowTarget)
    for call in (CALL, replace(CALL, pending="{}"), replace(CALL, pending="{}")):
        await counted.call(call)
    await counted.withdraw("{}")
    assert (count.calls, count.is_reached, target.withdrawn) == (1, True, ["{}"])
