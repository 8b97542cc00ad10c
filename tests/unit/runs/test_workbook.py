"""What a run knows of each record."""

from collections.abc import Iterator

import pytest

from forebay.runs.workbook import Entry, Outcome, Workbook


@pytest.fixture
def workbook() -> Iterator[Workbook]:
    with Workbook() as opened:
        opened.add([Entry(number=n, key=f"k{n}", record=b'{"n":%d}' % n) for n in range(4)])
        opened.index()
        yield opened


def won(key: str, payload: bytes = b"{}") -> Outcome:
    return Outcome(key=key, is_success=True, payload=payload)


def lost(key: str) -> Outcome:
    return Outcome(key=key, is_success=False, payload=b"{}")


def test_equal_requests_are_counted(workbook: Workbook) -> None:
    assert [workbook.occurrence(key) for key in (b"a", b"a", b"b", b"a")] == [0, 1, 0, 2]


def test_what_has_no_result_is_pending_in_order(workbook: Workbook) -> None:
    workbook.enter([won("k2"), lost("k0")], is_reused=False)
    assert [entry.key for entry in workbook.pending()] == ["k1", "k3"]


def test_a_success_replaces_a_failure_and_nothing_replaces_a_success(workbook: Workbook) -> None:
    assert workbook.enter([lost("k0")], is_reused=True) == []
    assert [row.number for row in workbook.enter([won("k0", b"first")], is_reused=False)] == [0]
    assert workbook.enter([won("k0", b"second"), lost("k0")], is_reused=False) == []
    assert [row.payload for row in workbook.rows(is_success=True)] == [b"first"]


def test_results_of_other_requests_are_passed_over(workbook: Workbook) -> None:
    assert workbook.enter([won("elsewhere")], is_reused=True) == []
    assert workbook.count() == 0


def test_reused_failures_can_be_asked_again_and_new_ones_not(workbook: Workbook) -> None:
    workbook.enter([lost("k0"), won("k1")], is_reused=True)
    workbook.enter([lost("k2")], is_reused=False)
    workbook.forget_failures()
    assert [entry.key for entry in workbook.pending()] == ["k0", "k3"]
    assert (workbook.count(is_success=False), workbook.count(is_success=True, is_reused=True)) == (1, 1)
