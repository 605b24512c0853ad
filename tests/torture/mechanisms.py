"""Take out one mechanism after the other, and see that a test fails: `make mechanisms`.

Each is a few characters of the package, replaced in a copy. A table of what is taken out, and of the test that notices,
is printed in the end.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import anthropix_actors

PACKAGE = Path(anthropix_actors.__file__).parent
TESTS = Path(__file__).parents[1]
LIMIT = 120
"""Seconds after which a test has hung, which is a failure, too."""


class Mechanism(NamedTuple):
    """A mechanism, and what is left when it is taken out.

    Attributes:
        name: Its name.
        file: The module.
        text: What makes it work.
        without: What takes its place.
        test: The test that must fail then.
    """

    name: str
    file: str
    text: str
    without: str
    test: str


MECHANISMS = [
    Mechanism(
        "a fresh process loads certificates while it imports",
        "_calls/client_transport.py",
        "with trust.loading(beside=base_url",
        "with trust.loading(beside=not base_url",
        "_http/test_trust.py::test_a_fresh_process_loads_certificates_while_it_imports_requests",
    ),
    Mechanism(
        "no thread is waited for while the interpreter ends",
        "_foreign/threads.py",
        "if sys.is_finalizing():",
        "if False:",
        "_foreign/test_threads.py::test_what_comes_while_the_interpreter_ends_is_not_waited_for",
    ),
    Mechanism(
        "kill switch",
        "_cancel/socket_shutdown.py",
        "self._duplicate.shutdown(socket.SHUT_RDWR)",
        "pass",
        "_cancel/test_cancel.py::test_cancel_ends_a_chat_whose_server_is_silent",
    ),
    Mechanism(
        "no event comes after a turn's end",
        "conversation/request.py",
        "if late < _LATEST and any(",
        "if False and any(",
        "conversation/test_ends.py::test_no_event_comes_after_a_turns_end_where_the_thread_that_tells_it_is_late",
    ),
    Mechanism(
        "a result is there when the subscribers have been told",
        "_tasks/ref.py",
        "wait(task.audience.delivered, told_until if deadline is None else min(deadline, told_until))",
        "pass",
        "_tasks/test_ends.py::test_a_result_is_there_when_all_have_been_told_so_that_an_actor_may_be_stopped",
    ),
    Mechanism(
        "a connection is released before others can reuse it",
        "_http/connections.py",
        "            attempt.cancel_scope.release()\n        super()._put_conn",
        "            pass\n        super()._put_conn",
        "_cancel/test_cancel.py::test_a_connection_in_the_pool_is_out_of_a_late_cancels_reach",
    ),
    Mechanism(
        "idle connections are closed though nothing else happens",
        "_cancel/sweeper.py",
        "            self._safely(partial(each.expire, now))",
        "            pass",
        "_http/test_idle_connections.py::test_connections_of_a_burst_are_closed_after_a_while_though_nothing_else_happens",
    ),
    Mechanism(
        "a session of TLS is resumed under its own name alone",
        "_http/reuse/tls_sessions.py",
        'kept = self._kept.get(tls.server_hostname or "")\n        if kept is None',
        "kept = next(iter(self._kept.values()), None)\n        if kept is None",
        "_http/test_tls_sessions.py::test_a_session_is_resumed_under_its_own_name_alone",
    ),
    Mechanism(
        "a connection is free before the end of the answer is told",
        "chat/actor.py",
        "        answer.give_back()\n",
        "",
        "_http/test_idle_connections.py::test_a_hundred_chats_one_after_the_other_use_one_connection",
    ),
    Mechanism(
        "one read takes all records that have arrived",
        "_http/tls.py",
        "                room -= len(piece)",
        "                room = 0",
        "_http/test_tls.py::test_one_read_takes_all_records_that_have_arrived",
    ),
    Mechanism(
        "receive while a peer takes nothing",
        "_http/tls.py",
        "poll.register(self.socket, select.POLLIN | select.POLLOUT)",
        "poll.register(self.socket, select.POLLOUT)",
        "_http/test_tls.py::test_a_peer_that_first_wants_to_be_rid_of_its_own_bytes_stops_nothing",
    ),
    Mechanism(
        "guard: no more than that is received meanwhile",
        "_http/tls.py",
        "if self._ended or self._incoming.pending >= _AHEAD:",
        "if self._ended:",
        "_http/test_tls.py::test_while_sending_a_bounded_number_of_bytes_is_taken",
    ),
    Mechanism(
        "one timeout for a whole handshake",
        "_http/tls.py",
        "                    self.settimeout(_left(deadline))",
        "                    pass",
        "_http/test_tls.py::test_the_timeout_is_for_the_whole_handshake_however_it_drips",
    ),
    Mechanism(
        "an end that was received, but not read, ends the use of a connection",
        "_http/connections.py",
        " and not (isinstance(self.sock, TLSSocket) and not self.sock.is_quiet)",
        "",
        "_http/test_tls.py::test_a_connection_whose_end_was_received_with_the_answer_is_not_used_again",
    ),
    Mechanism(
        "more is received at once when more has arrived",
        "_http/tls.py",
        "                self._room *= 2",
        "                pass",
        "_http/test_tls.py::test_one_read_takes_all_records_that_have_arrived",
    ),
    Mechanism(
        "bytes that came before a failure of TLS are told before it",
        "_http/tls.py",
        "            self._failure = exc  # told after the bytes before it\n",
        "            raise\n",
        "_http/test_tls.py::test_an_alert_is_an_error_after_the_bytes_before_it",
    ),
    Mechanism(
        "the peer is told why TLS failed",
        "_http/tls.py",
        "            self.socket.send(self._outgoing.read(), socket.MSG_DONTWAIT)",
        "            pass",
        "_http/test_tls.py::test_a_server_that_is_not_trusted_is_told_so",
    ),
    Mechanism(
        "a close_notify is an end, though the connection stays open",
        "_http/tls.py",
        "                if not piece:\n                    self._ended = self.got_close_notify = True\n",
        "                if not piece:\n",
        "_http/test_tls.py::test_a_close_notify_is_the_end_after_the_bytes_before_it",
    ),
    Mechanism(
        "a reset that a reply of TLS meets is no end",
        "_http/tls.py",
        "            self._reset = exc  # the system",
        "            pass  # the system",
        "_http/test_tls.py::test_a_reset_that_a_reply_meets_is_an_error_after_the_bytes_before_it",
    ),
    Mechanism(
        "what arrived counts, though the peer cannot be answered",
        "_http/tls.py",
        "            with contextlib.suppress(ConnectionError):  # what",
        "            with contextlib.suppress():  # what",
        "_http/test_tls.py::test_what_arrived_counts_even_where_the_peer_cannot_be_answered",
    ),
    Mechanism(
        "a failure of TLS waits for nothing",
        "_http/tls.py",
        "self.socket.send(self._outgoing.read(), socket.MSG_DONTWAIT)",
        "self._flush()",
        "_http/test_tls.py::test_a_peer_that_takes_nothing_delays_no_failure",
    ),
    Mechanism(
        "what TLS asks for in mid-stream is answered at once",
        "_http/tls.py",
        "        if self._outgoing.pending:  # such",
        "        if False:  # such",
        "_http/test_tls.py::test_a_question_of_tls_is_answered_at_once",
    ),
    Mechanism(
        "guard: a name must be said where it is to be checked",
        "_http/tls.py",
        "        if context.check_hostname and not server_hostname:",
        "        if False:",
        "_http/test_tls.py::test_a_name_must_be_said_where_it_is_to_be_checked",
    ),
    Mechanism(
        "guard: an event that the end of the stream cuts is discarded",
        "_decode/sse.py",
        '        if tail.count(b"\\n") < MAX_EVENT_LINES and _says_the_end(tail):\n',
        "        if tail:\n",
        "_decode/test_sse.py",
    ),
    Mechanism(
        "no message_stop, no complete answer",
        "chat/actor.py",
        '        raise TruncatedError("the answer ended without message_stop", retryable=True)',
        "        self._is_last({'type': 'message_stop'}, answer)",
        "_http/test_transport.py::test_a_fault_becomes_one_of_our_errors",
    ),
    Mechanism(
        "guard: an event has a largest size",
        "_decode/sse.py",
        "        if self._size > self._max_event_bytes + 1:",
        "        if False:",
        "chat/test_hostile.py::test_an_event_without_an_end_is_too_large_at_some_point",
    ),
    Mechanism(
        "window",
        "_tasks/window_delivery.py",
        "            while not self._scope.wait(lambda: place.granted or self._waits_no_more(), SLICE):",
        "            while False:",
        "_tasks/test_delivery.py::test_an_actor_is_never_more_than_a_window_behind",
    ),
    Mechanism(
        "a window is the subscriber's, not each chat's",
        "_tasks/mailbox.py",
        "            window = WINDOWS.by_urn.get(ref.actor_urn)",
        "            window = None",
        "_tasks/test_window.py::test_one_actor_has_one_window_until_nobody_tells_it_anything",
    ),
    Mechanism(
        "a subscriber is not held up by another that is stuck",
        "chat/task.py",
        "        self.keep = MergingQueue\n",
        "        assert MergingQueue\n",
        "_tasks/test_window.py::test_a_subscriber_is_not_held_up_by_one_that_is_stuck",
    ),
    Mechanism(
        "who was behind is told what it missed when it has room, though nothing more arrives",
        "_tasks/delivery.py",
        '        in_background(self.drain_safely, "anthropix-told")',
        "        pass",
        "_tasks/test_window.py::test_who_was_behind_is_told_what_it_missed_as_soon_as_it_has_room",
    ),
    Mechanism(
        "those that wait for room go on in turn",
        "_tasks/window.py",
        "        return int(not self._waiting and not self._is_full(size))",
        "        return int(not self._is_full(size))",
        "_tasks/test_window.py::test_as_many_go_on_as_there_is_room_for_in_their_order",
    ),
    Mechanism(
        "who leaves without having used its turn passes it on",
        "_tasks/window.py",
        "                self._waiting.remove(place)\n        self.moved()",
        "                self._waiting.remove(place)",
        "_tasks/test_window.py::test_as_many_go_on_as_there_is_room_for_in_their_order",
    ),
    Mechanism(
        "each answer of an actor lets one go on, at least",
        "_tasks/mailbox.py",
        "        self.moved(at_least=int(self._in_order))",
        "        self.moved()",
        "_tasks/test_window.py::test_an_inbox_that_does_not_tell_its_length_is_probed_for_each_message",
    ),
    Mechanism(
        "sweeper",
        "_cancel/sweeper.py",
        "            self._safely(partial(chat.sweep, now))",
        "            pass",
        "_http/test_transport.py::test_the_total_timeout_bounds_everything",
    ),
    Mechanism(
        "whoever cancels many keeps the interpreter's lock",
        "_cancel/socket_shutdown.py",
        "is_one_of_many = last is not None and",
        "is_one_of_many = False and last is not None and",
        "_cancel/test_cancel.py::test_whoever_cancels_many_has_cancelled_the_last_before_the_first_has_ended",
    ),
    Mechanism(
        "a thread cancels by itself what is not one of many",
        "_cancel/socket_shutdown.py",
        " and last.is_bound",
        "",
        "_cancel/test_many_cancels.py",
    ),
    Mechanism(
        "what is added while the thread that shuts sockets down ends is shut down",
        "_cancel/socket_shutdown.py",
        "        self._shut_down_all()  # what",
        "        pass  # what",
        "_cancel/test_many_cancels.py::test_one_that_is_added_while_the_thread_ends_is_shut_down",
    ),
    Mechanism(
        "an interrupted cancel is made again",
        "_tasks/task.py",
        "            self.scope.cancel(cause)  # again,",
        "            pass  #",
        "_cancel/test_cancel.py::test_a_cancel_that_an_interrupt_cut_short_is_made_again",
    ),
    Mechanism(
        "what is posted while the sweeper's thread ends is done",
        "_cancel/sweeper.py",
        "        self._act_on(posted)  # what",
        "        pass  # what",
        "_cancel/test_sweeper.py::test_what_is_posted_while_the_thread_ends_is_done",
    ),
    Mechanism(
        "sweeper: dead subscribers are detached",
        "_tasks/audience.py",
        "            elif not delivery.is_alive():",
        "            if False:",
        "chat/test_actor.py",
    ),
    Mechanism(
        "one terminal message",
        "_tasks/task.py",
        "            if self.terminal is not None:\n                return\n            self.terminal, self.last",
        "            self.terminal, self.last",
        "_tasks/test_ends.py",
    ),
    Mechanism(
        "bytes that came before a cancel are not delivered after it",
        "_tasks/delivery.py",
        "            self._tell_now(message)\n            self._scope.check()\n",
        "            self._tell_now(message)\n",
        "_cancel/test_cancel.py::test_what_arrived_before_the_cancel_is_not_told_after_it",
    ),
    Mechanism(
        "the end is delivered without the task's thread, if that is blocked",
        "_tasks/task.py",
        "            if now - self._late_since >= self.patience:",
        "            if False:",
        "_tasks/test_ends.py::test_a_tell_that_blocks_keeps_nobody_else_from_the_end",
    ),
    Mechanism(
        "one thread at a time delivers to a subscriber",
        "_tasks/delivery.py",
        "            if self._turn is None:\n                self._turn = mine\n        return",
        "            self._turn = mine\n        return",
        "_tasks/test_ends.py::test_messages_that_come_while_another_thread_tells_are_told_in_order_by_that_thread",
    ),
    Mechanism(
        "no thread waits for itself",
        "_tasks/waits.py",
        "    if task.thread == thread:",
        "    if False:",
        "_tasks/test_ends.py::test_a_tell_that_waits_for_its_own_chat_is_refused",
    ),
    Mechanism(
        "no handler waits for the chat that it follows",
        "_tasks/waits.py",
        "    if task.audience.include_one_of(actors):",
        "    if False:",
        "_tasks/test_ends.py::test_a_handler_that_waits_for_the_chat_it_follows_is_refused_however_short_the_answer",
    ),
    Mechanism(
        "`is_alive` is called on another thread",
        "_foreign/threads.py",
        "            ASKER.ask(self._ask)",
        "            self._ask()",
        "_tasks/test_ends.py::test_an_is_alive_that_goes_wrong_harms_no_other_chat",
    ),
    Mechanism(
        "waits come in slices",
        "_cancel/scope.py",
        "SLICE = 0.5",
        "SLICE = 3600.0",
        "_tasks/test_ends.py::test_an_exception_thrown_into_a_waiting_thread_arrives",
    ),
    Mechanism(
        "origin check",
        "_http/transport.py",
        "            if origin_of(path) == origin_of(self.base_url):",
        "            if True:",
        "endpoints/test_request.py::test_nothing_is_sent_to_another_origin",
    ),
    Mechanism(
        "origin check of a batch's results",
        "batches/results.py",
        "    if origin_of(whole) != origin_of(base_url):",
        "    if False:",
        "batches/test_batches.py::test_results_on_another_origin_are_refused_and_the_key_stays_here",
    ),
    Mechanism(
        "a chat that waits its turn is cancelled at once",
        "_tasks/task.py",
        "            self.slots.start_cancelled(self)",
        "            pass",
        "_tasks/test_concurrency.py::test_a_chat_that_waits_is_cancelled_at_once_and_never_sent",
    ),
    Mechanism(
        "first come, first served",
        "_tasks/concurrency.py",
        "popitem(last=False)",
        "popitem()",
        "_tasks/test_concurrency.py::test_one_at_a_time_is_strictly_first_come_first_served",
    ),
    Mechanism(
        "one refusal makes all requests wait",
        "_http/requester.py",
        "            self.throttle.release(error)",
        "            self.throttle.release(None)",
        "limits/test_governor.py::test_when_one_is_refused_the_others_wait_and_are_not_sent",
    ),
    Mechanism(
        "a resumed answer is one answer",
        "chat/resume.py",
        'moved = {**event, "index": index + self._offset}',
        'moved = {**event, "index": index}',
        "chat/test_resume.py",
    ),
    Mechanism(
        "an answer has a largest size",
        "_http/requester.py",
        "        if size > answer.max_bytes:",
        "        if False:",
        "chat/test_hostile.py::test_what_a_call_returns_is_bounded_and_what_is_read_in_a_loop_is_not",
    ),
    Mechanism(
        "a body shorter than its length is truncated",
        "_http/response.py",
        "        if left := self._raw._fp.length:",
        "        if left := 0 * (self._raw._fp.length or 0):",
        "files/test_files.py",
    ),
    Mechanism(
        "an encrypted body that ends with the connection ends with a close_notify",
        "_http/response.py",
        "            if isinstance(peer, TLSSocket) and not peer.got_close_notify:",
        "            if False:",
        "files/test_files.py::test_a_download_that_ends_with_the_connection_is_whole_only_after_a_close_notify",
    ),
    Mechanism(
        "a chat that has lost its log is cancelled",
        "hub/_write/open_log.py",
        '            self.cancel(f"the log {self.name!r} was claimed by another writer, or deleted")',
        "            pass",
        "hub/test_writing.py::test_a_chat_in_the_middle_is_cancelled_when_its_log_is_taken",
    ),
    Mechanism(
        "what waits for a store is bounded",
        "hub/_write/open_log.py",
        "CountedWindow(partial(len, self._waiting))",
        "CountedWindow(lambda: 0)",
        "hub/test_writing.py::test_a_slow_store_makes_the_chat_and_the_server_wait",
    ),
    Mechanism(
        "a cancel may come before its chat",
        "hub/_write/open_log.py",
        "        if self._cause is not None:\n            scope.cancel(self._cause)",
        "        pass",
        "hub/test_writing.py::test_a_cancel_before_the_chat_has_begun_sends_nothing",
    ),
    Mechanism(
        "an append that failed is tried again",
        "hub/_write/appender.py",
        "            self._failed.append(opened)",
        "            pass",
        "hub/test_writing.py::test_a_store_that_is_away_for_a_while_misses_nothing",
    ),
    Mechanism(
        "all that is due is written in one call",
        "hub/_write/appender.py",
        "        if left <= 0:\n            yield batch",
        "        if True:\n            yield batch",
        "hub/test_appender.py::test_all_that_is_due_is_written_in_one_call",
    ),
    Mechanism(
        "what one log has too much of comes after what the others have",
        "hub/_write/open_log.py",
        "            if left <= 0:\n                break",
        "            pass",
        "hub/test_appender.py::test_one_that_has_much_comes_after_what_the_others_have",
    ),
    Mechanism(
        "a log that fails holds up no other",
        "hub/_write/appender.py",
        "        if not self._hurries and time.monotonic() < self._again_at:\n            return []",
        "        pass",
        "hub/test_appender.py::test_what_is_wrong_with_one_log_holds_up_no_other",
    ),
    Mechanism(
        "what is refused of one log is written to the others, in a file",
        "stores/local/logs.py",
        "                except (Lost, Fenced, ParameterError) as exc:  # before anything of it is written",
        "                except ZeroDivisionError as exc:",
        "stores/test_conformance.py::test_the_store_of_sqlite",
    ),
    Mechanism(
        "a disk that has room for some logs takes these",
        "stores/local/logs.py",
        "            if not began or len(wanted) == 1:",
        "            if True:",
        "stores/sqlite/test_processes.py::test_where_the_disk_has_room_for_some_logs_these_are_written",
    ),
    Mechanism(
        "what Redis cannot do with one log keeps no other from being written",
        "stores/redis/many.py",
        "                    found[name] = _refusal(reply)",
        "                    raise reply",
        "stores/redis/test_many.py::test_what_redis_cannot_do_with_one_log_keeps_no_other_from_being_written",
    ),
    Mechanism(
        "a node of a Cluster that is away keeps the others from nothing",
        "stores/redis/many.py",
        "                faults.append(exc)\n                continue",
        "                raise",
        "stores/redis/test_many.py::test_a_node_that_is_away_keeps_the_others_from_nothing",
    ),
    Mechanism(
        "who appends to many logs of a Cluster looks where they are now",
        "stores/redis/many.py",
        "        client.nodes_manager.initialize()",
        "        pass",
        "stores/redis/test_many.py::test_logs_that_move_to_another_node_are_written_there",
    ),
    Mechanism(
        "what is followed next is read at once",
        "hub/_read/follower.py",
        "        if is_asleep:",
        "        if False:",
        "hub/test_following.py::test_what_is_followed_next_is_read_at_once",
    ),
    Mechanism(
        "a log whose writer has died is lost",
        "hub/_read/follower.py",
        "                if (why := reading.look()) is not None:",
        "                if (why := None) is not None:",
        "hub/test_following.py::test_a_log_whose_writer_has_died_is_lost_after_the_lease",
    ),
    Mechanism(
        "readers at several places of a log take turns",
        "hub/_read/follower.py",
        "min(wanting, key=lambda reading: reading.served)",
        "wanting[0]",
        "hub/test_following.py::test_one_that_joins_later_is_read_for_from_its_own_place",
    ),
    Mechanism(
        "of many logs that are followed, those where something has come are chosen anew, and no others",
        "hub/_read/follower.py",
        "            stale, self._stale = self._stale, set()",
        "            stale = {*self._stale, *self._readings}",
        "hub/test_following.py::test_who_follows_many_asks_those_alone_for_whom_something_has_come",
    ),
    Mechanism(
        "silent logs are looked at a few at a time",
        "hub/_read/follower.py",
        "            if time.monotonic() - now >= _LOOKING:",
        "            if False:",
        "hub/test_following.py::test_silent_logs_are_looked_at_a_few_at_a_time_and_others_are_read_meanwhile",
    ),
    Mechanism(
        "a silent log that is followed no more is not looked at",
        "hub/_read/follower.py",
        "self._is_read(reading) and reading.wants_more()",
        "reading.wants_more()",
        "hub/test_following.py::test_who_left_or_is_behind_is_not_looked_at",
    ),
    Mechanism(
        "a log that is followed no more is read no more",
        "hub/_read/follower.py",
        "            self._stale.add(reading.name)\n            is_last",
        "            is_last",
        "hub/test_following.py::test_who_follows_many_asks_those_alone_for_whom_something_has_come",
    ),
    Mechanism(
        "what changes in a log wakes those who wait for it, and no others",
        "stores/local/changes.py",
        "        elif name not in self._names:",
        "        elif False:",
        "stores/local/test_changes.py::test_who_waits_for_some_logs_is_woken_by_these_alone",
    ),
    Mechanism(
        "what is known of a log is known of one cursor",
        "stores/places.py",
        "            if place is None or place.after != after:",
        "            if place is None:",
        "stores/redis/test_reading.py::test_a_cursor_may_go_back_and_forth",
    ),
    Mechanism(
        "places of logs that are not followed any more are forgotten",
        "stores/places.py",
        "            known.clear()",
        "            pass",
        "stores/test_places.py::test_of_names_that_come_and_go_no_more_are_kept_than_there_is_room_for",
    ),
    Mechanism(
        "who follows many logs in Redis rests before it waits",
        "stores/redis/reading.py",
        "            self._connections.pause(rest)",
        "            pass",
        "stores/redis/test_reading.py::test_who_follows_many_logs_rests_before_it_waits",
    ),
    Mechanism(
        "a closed log in Redis is looked at each time",
        "stores/redis/reading.py",
        "                self._places.forget(place.name)",
        "                pass",
        "stores/redis/test_reading.py::test_a_closed_log_is_looked_at_each_time",
    ),
    Mechanism(
        "what was seen before a connection failed is in doubt",
        "stores/redis/reading.py",
        "            self._failed_at = time.monotonic()",
        "            pass",
        "stores/redis/test_reading.py::test_after_a_fault_all_are_looked_at_though_others_met_it",
    ),
    Mechanism(
        "a log is not read on while its subscriber is behind",
        "hub/_read/follow_task.py",
        "        return not self._is_paused",
        "        return True",
        "hub/test_following.py::test_what_waits_for_a_slow_one_is_bounded",
    ),
    Mechanism(
        "a forked child leaves its parent's logs alone",
        "hub/hub.py",
        "        self._writing.after_fork()",
        "        pass",
        "hub/test_hub.py::test_a_forked_child_leaves_what_the_parent_writes_and_follows_alone",
    ),
    Mechanism(
        "results are delivered once",
        "batches/results_actor.py",
        "            if custom_id not in names and custom_id not in older:",
        "            if True:",
        "batches/test_batches.py::test_results_that_are_cut_are_read_again_and_told_once",
    ),
    Mechanism(
        "no connection to a file of SQLite is open while a process forks",
        "stores/sqlite/connection.py",
        "        self._lock.acquire()\n        self._drop()",
        "        self._lock.acquire()",
        "stores/sqlite/test_processes.py::test_forks_at_any_moment_disturb_nobody_and_a_child_has_locks_of_its_own",
    ),
    Mechanism(
        "a file that was deleted is written to no more",
        "stores/sqlite/connection.py",
        "self._file != _file_at(self._path)",
        "False",
        "stores/sqlite/test_store.py::test_a_file_that_is_deleted_takes_its_logs_along",
    ),
    Mechanism(
        "after a failure, SQLite has a new connection",
        "stores/sqlite/connection.py",
        "            if not _is_busy(exc):",
        "            if False:",
        "stores/sqlite/test_store.py::test_what_a_full_disk_did_not_take_is_not_there",
    ),
    Mechanism(
        "a beat of before the machine started anew is none",
        "stores/sqlite/tables.py",
        "WHERE since <= :now AND :now < until",
        "WHERE :now < until",
        "stores/sqlite/test_store.py::test_a_beat_of_before_the_machine_started_anew_is_none",
    ),
    Mechanism(
        "when the one that asks for changes of other processes leaves, the next one does",
        "stores/local/changes.py",
        "            waiting.condition.notify()",
        "            pass",
        "stores/local/test_changes.py::test_when_the_one_that_asks_leaves_the_next_one_asks",
    ),
    Mechanism(
        "what ends by the clock alone ends waits, too",
        "stores/local/base.py",
        "min(deadline, now + LOOK_AGAIN)",
        "deadline",
        "stores/test_conformance.py::test_the_store_in_memory",
    ),
    Mechanism(
        "in a forked child nobody has the lock of a store in memory",
        "stores/memory.py",
        "        self._lock = threading.RLock()\n        super().after_fork_in_child()",
        "        super().after_fork_in_child()",
        "stores/test_memory.py::test_a_forked_child_has_a_copy",
    ),
    Mechanism(
        "what begins is in the log before",
        "conversation/core/pending.py",
        "        while self._effects and self._effects[0][0] <= self.durable:",
        "        while self._effects:",
        "conversation/test_resume.py::test_a_turn_waits_for_a_store_that_is_away",
    ),
    Mechanism(
        "a slow store delays no cancel",
        "conversation/core/pending.py",
        "    return ends or isinstance(effect, moves.CutChat)",
        "    return False",
        "conversation/test_resume.py::test_a_slow_store_does_not_delay_a_cancel",
    ),
    Mechanism(
        "a call of unknown outcome does not run again",
        "conversation/core/resume.py",
        '    if before == "running" and not (may_run and (now.idempotent or now.asks_again)):',
        '    if before == "running" and not may_run:',
        "conversation/test_resume.py::test_the_model_is_told_that_the_outcome_of_an_interrupted_call_is_unknown",
    ),
    Mechanism(
        "an approval is checked where the call is made",
        "conversation/actor.py",
        "        if not talk.may_start(call):",
        "        if False:",
        "conversation/test_inbox.py::test_a_call_that_is_not_as_it_was_approved_does_not_start",
    ),
    Mechanism(
        "what was posted is obeyed once",
        "conversation/talk.py",
        '            entry["inbox"] = posted',
        "            pass",
        "conversation/test_resume.py::test_an_answer_that_is_given_while_nobody_runs_it_is_obeyed_once",
    ),
    Mechanism(
        "what was read for the owner before is not obeyed",
        "conversation/inbox.py",
        "            if self._talks.get(inbox) is not talk:\n                return",
        "            talk = self._talks.get(inbox, talk)",
        "conversation/test_inbox.py::test_what_was_read_for_the_one_before_is_not_obeyed_by_the_next_one",
    ),
    Mechanism(
        "a conversation has one owner",
        "stores/holder.py",
        "            return self.store.claim(name, self.name)",
        "            return self.store.claim(name)",
        "stores/test_holder.py::test_what_is_held_stays_held_until_it_is_released",
    ),
    Mechanism(
        "what the next owner goes on with is not handed back",
        "conversation/actor.py",
        "        if not isinstance(self._lost, Fenced) or self._talk.recorder is None:",
        "        if True:",
        "conversation/test_resume.py::test_what_is_in_the_log_is_heard_by_the_new_owner_and_not_handed_back_by_the_one_before",
    ),
    Mechanism(
        "a worker lives from its start on, and what it takes is its own",
        "hub/worker.py",
        "                life.enter_context(self.hub.lives())",
        "                pass",
        "hub/test_worker.py::test_a_worker_lives_from_its_start_to_its_end",
    ),
    Mechanism(
        "a beat ends with what is held",
        "stores/beat.py",
        "            if self._held <= 0:\n                self._wake.set()",
        "            pass",
        "stores/test_beat.py::test_it_ends_at_once_however_long_the_lease",
    ),
    Mechanism(
        "a beat that failed is repeated soon",
        "stores/beat.py",
        "                pause = self._lease / _TRIES",
        "                return",
        "stores/test_beat.py::test_while_the_store_is_away_it_beats_more_often",
    ),
    Mechanism(
        "a holder beats as long as it holds anything",
        "stores/beat.py",
        "            self._held += 1",
        "            pass",
        "hub/test_writing.py::test_the_holder_lives_as_long_as_it_holds_anything",
    ),
    Mechanism(
        "a worker takes no log from a writer that lives",
        "hub/_write/writing.py",
        "            epoch = self._store.claim(name, self._holder)",
        "            self._store.claim(name)\n            epoch = self._store.claim(name, self._holder)",
        "hub/test_worker.py::test_a_log_whose_writer_lives_is_left_to_it_until_it_dies",
    ),
    Mechanism(
        "a worker that another has followed writes nothing more",
        "stores/local/rules.py",
        "    if epoch != head.epoch:",
        "    if False:",
        "hub/test_worker.py::test_whoever_has_lost_the_log_stops_the_answer",
    ),
    Mechanism(
        "a job whose log another has claimed is not done",
        "hub/_work/run.py",
        '            self.end = "fenced"',
        "            pass",
        "hub/test_worker.py::test_a_job_that_is_had_once_more_when_its_log_was_lost_is_not_done",
    ),
    Mechanism(
        "what a worker could not answer goes back",
        "hub/_work/taker.py",
        "is_done = not self._goes_on(run)",
        "is_done = True",
        "hub/test_worker.py::test_a_worker_that_is_stopped_gives_back_what_it_can",
    ),
    Mechanism(
        "what was given back and taken again at once is had anew",
        "hub/_work/in_hand.py",
        " and not self.runs[job.id].is_over",
        "",
        "hub/test_worker.py::test_what_a_worker_has_given_back_and_taken_again_at_once_is_answered",
    ),
    Mechanism(
        "a log that was given up is free",
        "hub/_write/writing.py",
        "                self._beat.afterwards(partial(_free, opened))",
        "                pass",
        "hub/test_worker.py::test_what_one_worker_gave_back_another_answers_though_the_first_lives",
    ),
    Mechanism(
        "a job is finished after its log is closed",
        "hub/_work/run.py",
        "        self.end = self.end or _ENDS.get(type(message))",
        "        self.end = self.end or _ENDS.get(type(message))\n        if self.end:\n            self._is_at_end()",
        "hub/test_worker.py::test_a_job_is_finished_when_the_end_of_its_answer_is_in_the_store",
    ),
    Mechanism(
        "what a worker has goes back when its program ends, or closes what it needs",
        "hub/_work/run.py",
        "frozenset({_STOPPED, EXITS, CLIENT_CLOSED, HUB_CLOSED})",
        "frozenset({_STOPPED})",
        "hub/test_worker_ends.py::test_what_a_worker_has_goes_back_when_hub_or_client_are_closed_first",
    ),
    Mechanism(
        "the interpreter's exit waits until jobs were given back",
        "hub/worker.py",
        "            self._in_hand.wait(deadline)",
        "            pass",
        "hub/test_worker_ends.py::test_a_program_that_ends_leaves_to_others_what_they_can_answer",
    ),
    Mechanism(
        "a worker takes nothing in the name of a hub that is closed",
        "hub/_work/taker.py",
        "            self._hub.check_open()",
        "            pass",
        "hub/test_worker_ends.py::test_a_worker_whose_hub_is_closed_takes_nothing_more",
    ),
    Mechanism(
        "an answer that the store does not take is not asked again",
        "hub/_write/open_log.py",
        "            self._replace(refusal)",
        "            self.give_up(refusal)",
        "hub/test_refused.py::test_an_answer_that_a_store_does_not_take_is_asked_once",
    ),
    Mechanism(
        "a job that cannot be read is taken with the others",
        "stores/kept_job.py",
        "    except Exception as exc:",
        "    except ZeroDivisionError as exc:",
        "hub/test_poison.py::test_a_job_that_is_no_json_object_costs_nobody_else_anything",
    ),
    Mechanism(
        "a job has a number of attempts",
        "hub/_work/takeover.py",
        "    if attempt > most:",
        "    if False:",
        "hub/test_worker.py::test_a_job_that_kills_its_workers_is_given_up",
    ),
    Mechanism(
        "what was told is not told again unless it may be",
        "hub/_work/takeover.py",
        "    return Step.RESTART if retry_lost else Step.LOSE",
        "    return Step.RESTART",
        "hub/test_worker.py::test_what_was_told_is_lost_and_says_so",
    ),
    Mechanism(
        "a reader that comes back while an answer closes misses no word",
        "hub/hub.py",
        "                entries = self.store.read(name, after)\n                ends",
        "                ends",
        "hub/test_races.py::test_what_is_written_while_a_reader_comes_back_is_not_skipped",
    ),
    Mechanism(
        "a log that another has just finished is not lost",
        "hub/_read/writer_check.py",
        "        if self._store.state(self.name) != state:",
        "        if False:",
        "hub/test_races.py::test_a_log_that_another_has_finished_meanwhile_is_not_lost",
    ),
    Mechanism(
        "jobs whose taker never had the reply are not forgotten",
        "stores/redis/queues.py",
        "            self._unanswered[queue, holder] = token",
        "            pass",
        "stores/redis/test_failures.py::test_who_never_had_the_reply_gets_the_jobs_when_it_takes_again",
    ),
    Mechanism(
        "a take that comes late to a server takes nothing",
        "stores/redis/queues.py",
        "[*args, int(settles)]",
        "[*args, 0]",
        "stores/redis/test_failures.py::test_a_take_that_a_server_does_after_it_was_repeated_takes_nothing",
    ),
    Mechanism(
        "connections that are dead, but open, cost one timeout",
        "stores/redis/connections.py",
        "                    self._here().close_idle()\n                now",
        "                    pass\n                now",
        "stores/redis/test_failures.py::test_connections_that_are_dead_but_open_cost_one_timeout",
    ),
    Mechanism(
        "no other claim has the epoch of one that was lost",
        "stores/redis/log_scripts.py",
        "local epoch = log.epoch > 0 and log.epoch + step or 1",
        "local epoch = log.epoch + 1",
        "stores/redis/test_lost.py::test_a_claim_that_is_lost_is_nobody_elses",
    ),
    Mechanism(
        "a post in the place of one that was lost is not taken for it",
        "stores/redis/logs.py",
        'encoded(data, "data", self.max_entry_bytes), _mark()]',
        'encoded(data, "data", self.max_entry_bytes), 7]',
        "stores/redis/test_lost.py::test_a_post_that_is_lost_is_not_another_one",
    ),
    Mechanism(
        "who lived when a server died lives on",
        "stores/redis/scripts.py",
        "    if left > 0 then redis.pcall",
        "    if false then redis.pcall",
        "stores/redis/test_lost.py::test_who_lived_when_a_server_died_lives_on_for_as_long_as_it_had_left",
    ),
    Mechanism(
        "a writer is told that the store has lost its entries",
        "stores/redis/logs.py",
        '        if what == b"gap" and more[0] < claim.length:',
        "        if False:",
        "stores/redis/test_lost.py::test_a_writer_of_what_is_lost_is_told",
    ),
    Mechanism(
        "what a Sentinel still names, but is a replica, is not read",
        "stores/redis/connect.py",
        '    if b"role:master" not in connection.read_response(disable_decoding=True):',
        '    if b"role" not in connection.read_response(disable_decoding=True):',
        "stores/redis/test_sentinel.py::test_a_server_that_is_no_primary_any_more_is_not_read",
    ),
    Mechanism(
        "a primary that was replaced while it lives is left",
        "stores/redis/connections.py",
        "                self.redis.connection_pool.get_master_address()",
        "                pass",
        "stores/redis/test_sentinel.py::test_a_primary_that_was_replaced_while_it_lives_is_not_written_to",
    ),
    Mechanism(
        "the shards that are there hear a beat",
        "stores/redis/logs.py",
        "                late.append(shard)  #",
        "                raise  #",
        "stores/redis/test_cluster.py::test_a_part_that_is_away_is_told_of_and_the_others_hear_who_lives",
    ),
    Mechanism(
        "names that have moved to a new node are found",
        "stores/redis/logs.py",
        "        client.nodes_manager.initialize()",
        "        pass",
        "stores/redis/test_cluster.py::test_a_node_that_is_new_is_waited_for_and_has_its_names",
    ),
    Mechanism(
        "an end that a store has lost is looked for",
        "hub/_write/writing.py",
        "                self._beat.afterwards(opened.look_again, AGAIN)",
        "                pass",
        "hub/test_lost_ends.py::test_the_end_of_an_answer_that_is_lost_is_said_to_be",
    ),
    Mechanism(
        "a job that came back is ended once more",
        "hub/_work/taker.py",
        "            self._ended.append((time.monotonic() + AGAIN, run.job.id, is_done))",
        "            pass",
        "hub/test_lost_ends.py::test_a_job_that_is_done_and_taken_again_is_ended_by_its_worker",
    ),
    Mechanism(
        "a log that has lost entries is given up, and free",
        "hub/_write/open_log.py",
        "            elif isinstance(error, Lost) and self._is_ours():",
        "            elif False:",
        "hub/test_lost_ends.py::test_a_chat_of_which_the_store_has_lost_the_last_is_given_up",
    ),
    Mechanism(
        "what was obeyed is not obeyed again",
        "conversation/inbox.py",
        "            if entry.cursor not in obeyed and not obey(talk, entry):",
        "            if not obey(talk, entry):",
        "conversation/test_inbox.py::test_what_was_obeyed_is_not_obeyed_again_when_its_inbox_has_lost_the_last_of_it",
    ),
    Mechanism(
        "what arrived together is told to a listener as one message",
        "_tasks/mailbox.py",
        "super()._tell_some(messages if self._inbox is None else self._inbox.packed(messages))",
        "super()._tell_some(messages)",
        "subscribers/test_listener.py::test_events_that_arrived_together_are_one_message_and_count_as_many",
    ),
    Mechanism(
        "the messages of a run count",
        "_tasks/runs.py",
        "return super().qsize() + self._packed + length_hint(self._begun)",
        "return super().qsize()",
        "subscribers/test_listener.py::test_events_that_arrived_together_are_one_message_and_count_as_many",
    ),
    Mechanism(
        "a mailbox of runs says itself when a message was handled",
        "_tasks/runs.py",
        "        self.window.moved()\n",
        "",
        "_tasks/test_window.py::test_a_mailbox_of_runs_lets_tasks_go_on_when_a_message_was_handled",
    ),
]


def stale() -> list[str]:
    """Name those whose text is not, or not once, in the package any more."""
    return [each.name for each in MECHANISMS if (PACKAGE / each.file).read_text("utf-8").count(each.text) != 1]


def notices(each: Mechanism) -> str:
    """Take one out; get the first test that fails, or nothing."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / PACKAGE.name
        shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
        module = package / each.file
        module.write_text(module.read_text("utf-8").replace(each.text, each.without), "utf-8")
        command = [sys.executable, "-P", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", str(TESTS / each.test)]
        environment = {"PYTHONPATH": folder, "PATH": "/usr/bin:/bin"}
        try:
            run = subprocess.run(  # this interpreter, and our tests
                command, cwd=TESTS.parent, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
            )
        except subprocess.TimeoutExpired:
            return f"{each.test} (hangs)"
    failed = [
        line.removeprefix("FAILED ").partition(" - ")[0].partition("[")[0]
        for line in run.stdout.splitlines()
        if line.startswith("FAILED ")
    ]
    return failed[0].removeprefix("tests/") if run.returncode == 1 and failed else ""


def main() -> int:
    if found := stale():
        print(f"not to be found in the package: {', '.join(found)}")
        return 1
    unnoticed = 0
    print("| without | fails |\n|---|---|")
    for each in MECHANISMS:
        test = notices(each)
        unnoticed += not test
        print(f"| {each.name} | {f'`{test}`' if test else '**nothing**'} |", flush=True)
    return int(bool(unnoticed))


if __name__ == "__main__":
    sys.exit(main())
