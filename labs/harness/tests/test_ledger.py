# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The ledger's arithmetic: every frame has one fate, and differences never cancel."""

from __future__ import annotations

import ast
import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labs.harness import ledger as module
from labs.harness.ledger import Break, Causes, Fate, Hop, Ledger, LedgerError, delivered, lost


def pipeline(*, entered: int = 90, received: int = 70, expected: dict[str, int] | None = None) -> Ledger:
    return Ledger(
        100,
        (
            Hop("gen0", 100, lost({"tx_dropped": 10}), onward=90),
            Hop("xsk", entered, lost({"ring_full": 20}), onward=70),
            Hop("socket", 70, delivered("received", received)),
        ),
        expected or {},
    )


def test_a_ledger_in_which_all_sums_hold_balances() -> None:
    ledger = pipeline()
    assert ledger.balanced
    assert ledger.unaccounted == 0
    assert ledger.first_break() is None
    assert ledger.delivered == 70
    assert ledger.losses == {"gen0/tx_dropped": 10, "xsk/ring_full": 20}
    assert sum(ledger.fates().values()) == ledger.sent


def test_send_zero_receive_zero() -> None:
    ledger = Ledger(0, (Hop("gen0", 0, onward=0), Hop("socket", 0, delivered("received", 0))))
    ledger.check()
    assert ledger.balanced
    assert ledger.losses == {}


def test_a_frame_lost_here_and_one_too_many_there_do_not_cancel() -> None:
    ledger = Ledger(10, (Hop("a", 10, onward=9), Hop("b", 9, delivered("received", 10))))
    assert [(item.place, item.missing) for item in ledger.breaks] == [("a", 1), ("b", -1)]
    assert ledger.unaccounted == 2
    assert not ledger.balanced


def test_a_gap_between_two_hops_is_found_there() -> None:
    ledger = pipeline(entered=89)
    assert ledger.first_break() == Break("gen0 -> xsk", 1)
    # what came in short went out whole: the hop itself has one too many
    assert ledger.breaks[1] == Break("xsk", -1)
    assert str(ledger.first_break()) == "1 frame unaccounted for at gen0 -> xsk"


def test_what_the_sender_says_is_compared_with_what_the_first_hop_saw() -> None:
    ledger = Ledger(11, (Hop("gen0", 10, delivered("received", 10)),))
    assert ledger.first_break() == Break("sent -> gen0", 1)


def test_frames_that_the_last_hop_hands_on_go_nowhere() -> None:
    ledger = Ledger(5, (Hop("gen0", 5, onward=5),))
    assert ledger.first_break() == Break("gen0 -> nowhere", 5)


def test_a_failed_assertion_prints_the_hop_where_the_sum_breaks() -> None:
    ledger = pipeline(received=69)
    text = repr(ledger.balanced)
    assert "1 frame unaccounted for at socket" in text
    assert "! unaccounted" in text
    assert "ring_full" in text


def test_losses_must_be_those_expected() -> None:
    expected = {"gen0/tx_dropped": 10, "xsk/ring_full": 20}
    pipeline(expected=expected).check()
    with pytest.raises(LedgerError, match="xsk/ring_full: expected 0, counted 20"):
        pipeline(expected={"gen0/tx_dropped": 10}).check()
    with pytest.raises(LedgerError, match="xsk/ring_full: expected 21, counted 20"):
        pipeline(expected={**expected, "xsk/ring_full": 21}).check()


def test_an_expected_loss_that_is_no_fate_is_a_mistake_in_the_test() -> None:
    with pytest.raises(ValueError, match="'xsk/typo' is no fate"):
        pipeline(expected={"xsk/typo": 1})


def test_classes_must_add_up_one_by_one() -> None:
    fates = (Fate("passed", 6, frame_class="arp"), Fate("redirected", 4, True, "udp"))
    good = Ledger(10, (Hop("xdp", 10, fates),), {}, {"arp": 6, "udp": 4})
    assert good.balanced
    swapped = dataclasses.replace(good, sent_by_class={"arp": 4, "udp": 6})
    assert swapped.unaccounted == 0
    assert not swapped.balanced
    assert [str(item) for item in swapped.breaks] == [
        "2 frames of class arp too many at the end",
        "2 frames of class udp unaccounted for at the end",
    ]


@pytest.mark.parametrize("count", [-1, 1.0, True, None])
def test_what_is_no_count_is_refused(count: object) -> None:
    with pytest.raises(ValueError, match="fate 'x'"):
        Fate("x", count)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="entered"):
        Hop("x", count)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="sent"):
        Ledger(count, (Hop("x", 0),))  # type: ignore[arg-type]


def test_names_that_clash_are_refused() -> None:
    with pytest.raises(ValueError, match="same name"):
        Ledger(0, (Hop("a", 0), Hop("a", 0)))
    with pytest.raises(ValueError, match="fate twice"):
        Hop("a", 2, (Fate("x", 1), Fate("x", 1)))
    with pytest.raises(ValueError, match="at least one hop"):
        Ledger(0, ())
    with pytest.raises(ValueError, match="add up to 3, not 4"):
        Ledger(4, (Hop("a", 4),), sent_by_class={"x": 3})


def test_the_table_is_aligned_and_has_every_count() -> None:
    assert pipeline(received=69).table() == "\n".join(
        (
            "        sent            100",
            "gen0    entered         100",
            "          - tx_dropped   10",
            "        onward           90",
            "xsk     entered          90",
            "          - ring_full    20",
            "        onward           70",
            "socket  entered          70",
            "          = received     69",
            "        ! unaccounted     1",
            "        unaccounted       1",
        )
    )


counts = st.integers(min_value=0, max_value=10**12)


@st.composite
def balanced_ledgers(draw: st.DrawFn) -> Ledger:
    """Frames flow down a chain; at each hop some end in one of a few ways."""
    sent = draw(counts)
    left, hops = sent, []
    for index in range(draw(st.integers(1, 6))):
        entered, fates = left, []
        for fate in range(draw(st.integers(0, 4))):
            count = draw(st.integers(0, left))
            fates.append(Fate(f"fate{fate}", count, draw(st.booleans())))
            left -= count
        hops.append(Hop(f"hop{index}", entered, tuple(fates), left))
    last = hops.pop()
    hops.append(dataclasses.replace(last, fates=(*last.fates, Fate("end", left, True)), onward=0))
    return Ledger(sent, tuple(hops))


@given(balanced_ledgers())
def test_whatever_the_chain_a_true_account_balances(ledger: Ledger) -> None:
    assert ledger.balanced
    assert ledger.sent == sum(ledger.fates().values()) == ledger.delivered + sum(ledger.losses.values())


@given(balanced_ledgers(), st.data())
def test_any_wrong_count_breaks_the_balance(ledger: Ledger, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(ledger.hops) - 1))
    wrong = data.draw(st.integers(1, 10**6))
    hop = ledger.hops[index]
    field = data.draw(st.sampled_from(["entered", "onward", *range(len(hop.fates))]))
    if isinstance(field, int):
        fates = list(hop.fates)
        fates[field] = dataclasses.replace(fates[field], count=fates[field].count + wrong)
        hop = dataclasses.replace(hop, fates=tuple(fates))
    else:
        hop = dataclasses.replace(hop, **{field: getattr(hop, field) + wrong})
    hops = (*ledger.hops[:index], hop, *ledger.hops[index + 1 :])
    broken = dataclasses.replace(ledger, hops=hops)
    assert not broken.balanced
    first = broken.first_break()
    assert first is not None
    assert hop.name in first.place
    # entered and onward are seen from both sides: missing at the one, too many at the other
    assert broken.unaccounted == (wrong if isinstance(field, int) else 2 * wrong)


@given(counts, st.lists(st.tuples(counts, st.lists(counts, max_size=3), counts), min_size=1, max_size=5))
def test_unaccounted_is_zero_if_and_only_if_it_balances(
    sent: int, hops: list[tuple[int, list[int], int]]
) -> None:
    ledger = Ledger(
        sent,
        tuple(
            Hop(f"h{i}", entered, tuple(Fate(f"f{j}", n) for j, n in enumerate(fates)), onward)
            for i, (entered, fates, onward) in enumerate(hops)
        ),
    )
    assert bool(ledger.balanced) == (ledger.unaccounted == 0) == (ledger.first_break() is None)
    assert ledger.unaccounted >= abs(ledger.sent - sum(ledger.fates().values()))


@given(balanced_ledgers())
def test_a_ledger_survives_json(ledger: Ledger) -> None:
    assert Ledger.from_dict(json.loads(json.dumps(ledger.to_dict()))) == ledger


def test_the_module_imports_nothing_of_ours() -> None:
    tree = ast.parse(Path(module.__file__).read_text())
    names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert names == {"__future__", "collections.abc", "dataclasses", "typing"}


def explained(reasons: dict[str, int], *, exact: bool = True, missed: int = 0) -> Ledger:
    causes = Causes(("xsk/ring_full",), reasons, exact, missed)
    return dataclasses.replace(pipeline(expected=None), causes=(causes,))


def test_a_witness_that_counted_the_same_changes_nothing() -> None:
    ledger = explained({"ENOBUFS": 20})
    assert ledger.balanced
    assert "      : ENOBUFS" in ledger.table()
    assert Ledger.from_dict(json.loads(json.dumps(ledger.to_dict()))) == ledger


@pytest.mark.parametrize("named", [19, 21])
def test_a_witness_that_counted_otherwise_breaks_the_balance_there(named: int) -> None:
    ledger = explained({"ENOBUFS": named})
    assert ledger.unaccounted == 0  # each frame has its fate, but not all agree which
    assert not ledger.balanced
    assert str(ledger.first_break()) == f"20 frames counted at xsk/ring_full, {named} named by the kernel"
    with pytest.raises(LedgerError, match=f"{named} named by the kernel"):
        ledger.check()


def test_a_witness_may_have_missed_some_but_never_name_more() -> None:
    assert explained({"ENOBUFS": 18}, missed=2).balanced
    assert not explained({"ENOBUFS": 17}, missed=2).balanced
    assert not explained({"ENOBUFS": 21}, missed=2).balanced


def test_a_witness_that_only_informs_breaks_nothing() -> None:
    assert explained({"NO_SOCKET": 3}, exact=False).balanced


def test_causes_of_a_fate_that_is_none_are_refused() -> None:
    with pytest.raises(ValueError, match="'xsk/typo', which is no fate"):
        dataclasses.replace(pipeline(), causes=(Causes(("xsk/typo",), {}),))
    with pytest.raises(ValueError, match="at least one fate"):
        Causes((), {})
    with pytest.raises(ValueError, match="cause 'x'"):
        Causes(("a/b",), {"x": -1})
