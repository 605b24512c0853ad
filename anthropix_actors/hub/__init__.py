"""Chats over a store: written by one process, followed, cancelled and waited for by any.

>>> from anthropix_actors.hub import Hub
>>> chat = client.chat(model="claude-sonnet-5", messages=hello, stream=hub.to("answer-2"))
>>> hub.result("answer-2", timeout=60)["stop_reason"]
'end_turn'
"""

from anthropix_actors.hub._work.in_hand import WorkerMetrics
from anthropix_actors.hub.entries import told
from anthropix_actors.hub.followed import Followed
from anthropix_actors.hub.hub import Hub, HubMetrics
from anthropix_actors.hub.log_writer import LogWriter
from anthropix_actors.hub.ref import LogRef
from anthropix_actors.hub.status import ChatStatus
from anthropix_actors.hub.worker import Worker

__all__ = ["ChatStatus", "Followed", "Hub", "HubMetrics", "LogRef", "LogWriter", "Worker", "WorkerMetrics", "told"]
