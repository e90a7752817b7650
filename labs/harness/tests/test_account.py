# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""From counters to hops: any consistent counts balance, and any single wrong one is found where it is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labs.harness.account import MISSED, account, redirect_errors, stack_drops
from labs.harness.account_counts import Route
from labs.harness.arrived import RECEIVER, SINK, Arrived
from labs.harness.ledger import Ledger
from xdp.watch_verdicts import VERDICTS

ROUTE = Route("gen0", "dut0", "dut1", "sink0")


@dataclass(frozen=True)
class Run:
    """What was sent, what was counted, what arrived."""

    sent: int
    counted: dict[str, int]
    arrived: Arrived

    def ledger(self, counted: dict[str, int] | None = None, **options: object) -> Ledger:
        return account(self.sent, {**self.counted, **(counted or {})}, self.arrived, ROUTE, **options)  # type: ignore[arg-type]


frames = st.integers(0, 10**9)


@st.composite
def consistent_runs(draw: st.DrawFn, watched: bool | None = None) -> Run:
    """Frames flow from device to device, and each witness counts what it sees of them; fexit may."""
    watched = draw(st.booleans()) if watched is None else watched
    ended = {name: draw(frames) for name in ENDS}
    by_sink = draw(st.booleans())
    ended["socket_full" if by_sink else "wrong_flow"] = 0
    ended["sink_csum"] *= not by_sink  # the sink's program comes before the stack
    passed = ended["arp"] + ended["no_socket"]
    failed = sum(ended[name] for name in ("ring_full", "no_frame", "too_long", "refused"))
    arrived = Arrived(**{name: ended[name] for name in ARRIVED}, by=SINK if by_sink else RECEIVER)
    back = arrived.total + ended["sink_csum"] * watched
    queued = back + ended["tx_waiting"] + ended["busy"]
    taken = queued + ended["dropped"] + ended["tx_ring_full"]
    redirected = taken + ended["rx_waiting"] + failed
    arrivals = redirected + passed
    queue_1 = draw(st.integers(0, arrivals))
    counted = {
        "gen0_tx_dropped": ended["device"],
        "dut0_rx_packets": arrivals,
        "dut0_rx_queue_0_xdp_packets": arrivals - queue_1,
        "dut0_rx_queue_1_xdp_packets": queue_1,
        "dut0_rx_queue_0_xdp_redirect": redirected - failed,
        "dut0_rx_queue_0_drops": failed,
        "dut0_rx_queue_0_xdp_drops": 0,
        "program_redirected": redirected,
        "program_arp": ended["arp"],
        "program_no_socket": ended["no_socket"],
        "xsk_rx_ring_full": ended["ring_full"],
        "xsk_rx_dropped": ended["no_frame"] + ended["too_long"],
        "xsk_rx_level": ended["rx_waiting"],
        "forwarder_rx_packets": taken,
        "forwarder_dropped": ended["dropped"],
        "forwarder_tx_ring_full": ended["tx_ring_full"],
        "forwarder_tx_packets": queued,
        "forwarder_tx_completed": queued - ended["tx_waiting"],
        "forwarder_tx_ebusy": ended["busy"],
        "dut1_tx_packets": back,
        "dut1_tx_dropped": ended["busy"],
    }
    if watched:
        counted |= {
            MISSED: 0,
            "kernel_dut_dut0_redirect_err_ENOBUFS": ended["ring_full"],
            "kernel_dut_dut0_redirect_err_ENOMEM": ended["no_frame"],
            "kernel_dut_dut0_redirect_err_ENOSPC": ended["too_long"],
            "kernel_dut_dut0_redirect_err_EINVAL": ended["refused"],
            "kernel_dut_dut0_skb_NOT_SPECIFIED": ended["device"],
            "kernel_dut_dut0_skb_NO_SOCKET": min(ended["no_socket"], ended["other"]),
            "kernel_sink_sink0_skb_NOT_SPECIFIED": ended["busy"],
            "kernel_sink_sink0_skb_UDP_CSUM": ended["sink_csum"],
            "kernel_sink_sink0_skb_SOCKET_RCVBUFF": arrived.socket_full,
            "kernel_gen_gen0_skb_NO_SOCKET": ended["other"],
        }
    if draw(st.booleans()):
        verdicts = dict.fromkeys(VERDICTS, 0) | {"pass": passed, "redirect": redirected, "missed": 0}
        counted |= {f"verdict_{name}": count for name, count in verdicts.items()}
    sent = arrivals + ended["device"]
    if by_sink:
        # Of each number that was not seen nothing came, or only something damaged.
        unseen = sent - arrived.received - arrived.wrong_flow
        damaged = draw(st.integers(0, min(arrived.corrupt, unseen)))
        arrived = replace(arrived, never=unseen - damaged, damaged=damaged, expected=sent)
    return Run(sent, counted, arrived)


ARRIVED = ("received", "duplicates", "corrupt", "unexpected", "socket_full", "wrong_flow")
ENDS = (
    *ARRIVED,
    *("device", "arp", "no_socket", "ring_full", "no_frame", "too_long", "refused", "rx_waiting"),
    *("dropped", "tx_ring_full", "tx_waiting", "busy", "sink_csum", "other"),
)
# Each counter with the places at which a wrong value of it may show; the driver's count of redirects, say, is
# held against the program's before it and the forwarder's behind it.
WHERE = {
    "gen0_tx_dropped": {"sender"},
    "dut0_rx_queue_0_xdp_packets": {"sender", "sender -> xdp"},
    "dut0_rx_queue_0_xdp_redirect": {"xdp -> redirect", "redirect"},
    "dut0_rx_queue_0_drops": {"xdp -> redirect", "redirect"},
    "program_redirected": {"sender -> xdp", "xdp", "xdp -> redirect"},
    "program_arp": {"sender -> xdp", "xdp"},
    "verdict_pass": {"sender -> xdp", "xdp"},
    "verdict_redirect": {"sender -> xdp", "xdp"},
    "xsk_rx_ring_full": {"redirect", "redirect/rx_ring_full"},
    "xsk_rx_dropped": {"redirect", "redirect/no_frame"},
    "xsk_rx_level": {"redirect"},
    "forwarder_rx_packets": {"redirect", "forwarder"},
    "forwarder_dropped": {"forwarder"},
    "forwarder_tx_packets": {"forwarder"},
    "forwarder_tx_completed": {"tx"},
    "forwarder_tx_ebusy": {"tx"},
    "dut1_tx_packets": {"tx", "egress"},
}


@given(consistent_runs())
def test_any_consistent_counts_balance(run: Run) -> None:
    ledger = run.ledger()
    assert ledger.balanced
    assert sum(ledger.fates().values()) == run.sent
    assert ledger.delivered == run.arrived.received


@given(consistent_runs(), st.sampled_from(sorted(WHERE)), st.integers(1, 10**6))
def test_any_single_wrong_count_is_found_and_placed(run: Run, name: str, wrong: int) -> None:
    if MISSED not in run.counted and name in ("xsk_rx_ring_full", "xsk_rx_dropped"):
        # Without the tracepoints a refused redirect is what no socket counted: that much is taken on trust.
        wrong += run.ledger().fates()["redirect/refused"]
    if name not in run.counted:  # where the kernel refuses fexit
        return
    value = run.counted[name] + wrong
    if name == "forwarder_tx_completed":  # never more than were queued: what is missing there still waits
        value = max(run.counted[name] - wrong, 0)
        if value == run.counted[name]:
            return
    broken = run.ledger({name: value})
    assert not broken.balanced
    # The sink, which holds its own list of numbers against all losses together, may have noticed as well.
    places = {item.place for item in broken.breaks if item.witness != "the sink"}
    assert places <= WHERE[name], broken.breaks
    assert broken.unaccounted > 0


@given(consistent_runs(watched=True), st.sampled_from(["ENOBUFS", "ENOMEM", "EINVAL"]), st.integers(1, 10**6))
def test_the_kernel_naming_other_errors_than_were_counted_breaks_the_balance(
    run: Run, name: str, wrong: int
) -> None:
    key = f"kernel_dut_dut0_redirect_err_{name}"
    broken = run.ledger({key: run.counted[key] + wrong})
    assert not broken.balanced
    # What the kernel missed to count may be fewer, never more.
    missed = {MISSED: wrong, key: run.counted[key] + wrong}
    assert not run.ledger(missed).balanced


@given(consistent_runs(), st.integers(1, 10**6))
def test_a_sink_whose_list_of_numbers_says_otherwise_breaks_the_balance(run: Run, wrong: int) -> None:
    if run.arrived.never is None:
        return
    broken = replace(run, arrived=replace(run.arrived, never=run.arrived.never + wrong)).ledger()
    (found,) = broken.breaks
    assert str(found).endswith("named by the sink")
    assert broken.unaccounted == 0, "the counters alone do not see it"


@given(consistent_runs(watched=True), st.integers(1, 10**6))
def test_what_the_kernel_missed_may_be_named_less(run: Run, missed: int) -> None:
    key = "kernel_dut_dut0_redirect_err_ENOBUFS"
    less = max(run.counted[key] - missed, 0)
    assert run.ledger({MISSED: missed, key: less}).balanced
    if less < run.counted[key]:
        assert not run.ledger({key: less}).balanced


@given(consistent_runs(watched=True), st.integers(1, 10**6))
def test_drops_elsewhere_and_in_captures_move_nothing(run: Run, count: int) -> None:
    elsewhere = {
        "kernel_gen_gen0_skb_NO_SOCKET": count,
        "kernel_dut_lo_skb_NO_SOCKET": count,
        "kernel_sink_sink0_skb_PACKET_SOCK_ERROR": count,
        "kernel_other_eth0_redirect_err_ENOBUFS": count,
    }
    assert run.ledger(elsewhere) == run.ledger()


@given(consistent_runs(watched=True), st.integers(1, 10**6))
def test_where_one_errno_tells_of_all_that_a_socket_did_not_take_their_sum_must_hold(
    run: Run, wrong: int
) -> None:
    prefix = "kernel_dut_dut0_redirect_err_"
    counts = {name: run.counted[prefix + name] for name in ("ENOBUFS", "ENOMEM", "ENOSPC")}
    old = {prefix + "ENOBUFS": 0, prefix + "ENOMEM": 0, prefix + "ENOSPC": sum(counts.values())}
    old["xsk_rx_fill_ring_empty_descs"] = counts["ENOMEM"]
    made = run.ledger(old)
    assert made.balanced
    assert made.fates() == run.ledger().fates()
    assert not run.ledger({**old, prefix + "ENOSPC": sum(counts.values()) + wrong}).balanced


def test_the_reason_stands_with_the_class_of_which_all_dropped_frames_were() -> None:
    counted = {
        "gen0_tx_dropped": 7,
        "dut0_rx_packets": 250,
        "dut0_rx_queue_0_xdp_packets": 250,
        "program_redirected": 0,
        "program_other_port": 250,
        "program_arp": 0,
        "xsk_rx_ring_full": 0,
        "xsk_rx_dropped": 0,
        "xsk_rx_level": 0,
        "dut1_tx_packets": 0,
        "dut1_tx_dropped": 0,
        MISSED: 0,
        "kernel_dut_dut0_skb_NO_SOCKET": 249,
        "kernel_dut_dut0_skb_NOT_SPECIFIED": 7,
    }
    ledger = account(257, counted, Arrived(), ROUTE)
    assert ledger.balanced
    (causes,) = ledger.causes
    assert causes.fates == ("xdp/host_other_port",)
    assert causes.reasons == {
        "NO_SOCKET": 249
    }  # the 7 were refused by the full ring, and never came to the stack
    assert "      : NO_SOCKET" in ledger.table()


def test_frames_that_were_offered_again_are_no_loss() -> None:
    zeros = {name: 0 for name in WHERE if not name.startswith("verdict_")}
    run = Run(10, {**zeros, "xsk_rx_level": 0, "dut0_rx_packets": 10}, Arrived(10))
    run.counted.update(dict.fromkeys(("dut0_rx_queue_0_xdp_packets", "dut0_rx_queue_0_xdp_redirect"), 10))
    run.counted.update(dict.fromkeys(("program_redirected", "forwarder_rx_packets", "dut1_tx_packets"), 10))
    run.counted.update(
        {"dut1_tx_dropped": 0, "forwarder_tx_packets": 10, "forwarder_tx_completed": 10, "gen0_tx_dropped": 3}
    )
    assert run.ledger(retried=3).balanced
    assert str(run.ledger().first_break()) == "3 frames too many at sender"


@given(consistent_runs(watched=True), frames, st.integers(0, 10**6), st.booleans())
def test_what_the_senders_queue_dropped_is_a_fate_but_what_it_refused_is_none(
    run: Run, dropped: int, refused: int, unnamed: bool
) -> None:
    counted = {"gen0_qdisc_drops": dropped + refused}
    # Echoed, so that the same device is the last one: its queue's drops are none of the receiver's.
    reason = "NOT_SPECIFIED" if unnamed else "QDISC_DROP"
    counted["kernel_sink_sink0_skb_" + reason] = dropped + run.counted.get(
        "kernel_sink_sink0_skb_" + reason, 0
    )
    counted["sink0_qdisc_drops"] = dropped
    more = replace(run, sent=run.sent + dropped, arrived=replace(run.arrived, never=None))
    made = more.ledger(counted, retried=refused)
    assert made.balanced, made.table()
    assert made.fates()["sender/queue_dropped"] == dropped
    assert made.fates()["sender/device_refused"] == run.counted["gen0_tx_dropped"]


@pytest.mark.parametrize("device", ["dut0", "dut1"])
def test_drops_are_told_apart_by_device(device: str) -> None:
    counted = {
        "kernel_dut_dut0_skb_IP_CSUM": 1,
        "kernel_dut_dut1_skb_IP_CSUM": 2,
        "kernel_dut_dut0_redirect_err_EINVAL": 3,
    }
    assert stack_drops(counted, device) == {"IP_CSUM": 1 if device == "dut0" else 2}
    assert redirect_errors(counted, device) == ({"EINVAL": 3} if device == "dut0" else {})


def as_virtio(counted: dict[str, int], *, zero_copy: bool) -> dict[str, int]:
    """The same frames as virtio_net counts them: other names, and a failed redirect is a redirect, too."""
    failed = counted["dut0_rx_queue_0_drops"]
    others = {name: count for name, count in counted.items() if "_rx_queue_" not in name}
    told = {
        "dut0_rx0_xdp_packets": counted["dut0_rx_queue_0_xdp_packets"],
        "dut0_rx1_xdp_packets": counted["dut0_rx_queue_1_xdp_packets"],
        "dut0_rx0_xdp_redirects": counted["dut0_rx_queue_0_xdp_redirect"] + failed,
        "dut0_rx0_drops": failed,
        "dut0_rx0_xdp_drops": 0,
        "dut1_tx0_xdp_tx": counted["dut1_tx_packets"] * zero_copy,
        "dut1_tx_packets": counted["dut1_tx_packets"] * (not zero_copy),
    }
    return {**others, **told}


@given(run=consistent_runs(), zero_copy=st.booleans())
def test_the_same_frames_balance_by_virtios_counters(run: Run, zero_copy: bool) -> None:
    there = account(run.sent, as_virtio(run.counted, zero_copy=zero_copy), run.arrived, ROUTE)
    assert there.breaks == run.ledger().breaks
    assert [hop.onward for hop in there.hops] == [hop.onward for hop in run.ledger().hops]
