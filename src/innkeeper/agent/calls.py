"""Answer the host's questions."""

import base64
import threading
from typing import TYPE_CHECKING, Callable, Dict, List

from innkeeper.agent import effect, guest, logons, power
from innkeeper.agent.health import health
from innkeeper.agent.inits import Inits
from innkeeper.agent.loop import Loop
from innkeeper.agent.places import Places
from innkeeper.agent.plugin import PluginError
from innkeeper.agent.waiting import waiting
from innkeeper.wire.session import GuestSession, Message

if TYPE_CHECKING:
    from innkeeper.agent.service import Agent

#: Time for the answer to be on its way before the guest goes down.
_GRACE_S = 0.5


class Calls:
    """One method for each question, by the ``do`` of the message."""

    def __init__(self, agent: "Agent", loop: Loop, places: Places, session: GuestSession) -> None:
        self._agent = agent
        self._loop = loop
        self._places = places
        self._session = session
        self._known: Dict[str, Callable[[Message], Message]] = {
            "start_task": self._start_task,
            "prepare": self._prepare,
            "stop_preparing": self._stop_preparing,
            "task": self._task,
            "cancel_task": self._cancel_task,
            "disturbed": self._disturbed,
            "may_reach": self._may_reach,
            "facts": lambda message: {"facts": guest.facts(places)},
            "parameters": lambda message: {"parameters": agent.parameters.all()},
            "set_parameter": self._set_parameter,
            "set_time": self._set_time,
            "reboot": lambda message: self._go_down(power.reboot),
            "shut_down": lambda message: self._go_down(power.shut_down),
        }

        #: What runs programs of the guest's.
        self._slow: Dict[str, Callable[[Message], Message]] = {
            "health": self._health,
            "sessions": lambda message: {"sessions": logons.sessions(places)},
            "log_off": lambda message: {"count": logons.log_off(places)},
            "scan": lambda message: waiting(places),
            "effect": lambda message: _effect(places),
            "restart_units": lambda message: {"units": effect.restart(places, _texts(message["units"]))},
            "evidence": lambda message: {"evidence": Inits(places).evidence(_texts(message["units"]))},
        }

    def answer(self, number: int, message: Message) -> None:
        """Answer, now or when the answer is there."""
        slow = self._slow.get(str(message.get("do")))
        if slow is not None:
            self._answer_from_thread(number, lambda: slow(message))
            return
        method = self._known.get(str(message.get("do")))
        try:
            if method is None:
                raise PluginError(f"This agent does not know the request {message.get('do')}.")
            answer = method(message)
        except PluginError as exc:
            answer = {"error": str(exc)}
        except (KeyError, ValueError, TypeError) as exc:
            answer = {"error": f"The request cannot be read: {exc!r}"}
        self._session.answer(number, answer)

    def _start_task(self, message: Message) -> Message:
        context = base64.b64decode(str(message["context"]))
        label, identifier = str(message["label"]), str(message["identifier"])
        task = self._agent.start_task(label, identifier, context, str(message.get("attempt", "")))
        return {"task": task.full_report()}

    def _prepare(self, message: Message) -> Message:
        label, identifier = str(message["label"]), str(message["identifier"])
        context, attempt = base64.b64decode(str(message["context"])), str(message["attempt"])
        offset = int(str(message["offset"]))
        found = self._agent.prepare(label, identifier, context, attempt, offset)
        return {"preparation": found.to_message()}

    def _stop_preparing(self, message: Message) -> Message:
        self._agent.stop_preparing(str(message["identifier"]))
        return {}

    def _task(self, message: Message) -> Message:
        task = self._agent.task(str(message["identifier"]))
        return {"task": task.full_report() if task else None}

    def _cancel_task(self, message: Message) -> Message:
        self._agent.cancel_task(str(message["identifier"]))
        return {}

    def _disturbed(self, message: Message) -> Message:
        return {"units": self._agent.disturbed(str(message["identifier"]), message.get("start") is True)}

    def _may_reach(self, message: Message) -> Message:
        return {"allowed": self._agent.may_reach(int(str(message["port"])))}

    def _health(self, message: Message) -> Message:
        history = message.get("history") is True
        self._loop.call_from_thread(self._agent.restarts.watch)
        boots = self._agent.boots.told() if history else None
        return {"health": health(self._places, history, boots, self._agent.restarts.counts())}

    def _set_parameter(self, message: Message) -> Message:
        value = message["value"]
        if value is not None and not isinstance(value, str):
            raise ValueError("a parameter's value is a text")
        revision = int(str(message["revision"]))
        self._agent.parameters.set_by_host(str(message["name"]), value, revision)
        return {}

    def _set_time(self, message: Message) -> Message:
        guest.set_time(float(str(message["seconds"])))
        return {}

    def _go_down(self, way: Callable[[Places], bool]) -> Message:
        self._loop.after(_GRACE_S, lambda: self._do(way))
        return {}

    def _do(self, way: Callable[[Places], bool]) -> None:
        way(self._places)

    def _answer_from_thread(self, number: int, collect_answer: Callable[[], Message]) -> None:
        """Programs and check scripts take their time: in a thread, so that pings are answered."""
        session = self._session.serial

        def collect() -> None:
            try:
                answer = collect_answer()
            except PluginError as exc:
                answer = {"error": str(exc)}
            except Exception as exc:  # The top of a thread: no answer would be waited for.
                answer = {"error": f"The report could not be made: {exc!r}"}
            self._loop.call_from_thread(lambda: self._answer_late(session, number, answer))

        threading.Thread(target=collect, daemon=True).start()

    def _answer_late(self, session: int, number: int, answer: Message) -> None:
        if session == self._session.serial:
            self._session.answer(number, answer)
            self._agent.flush()


def _effect(places: Places) -> Message:
    old = effect.stale(places)
    return {"reboot": effect.why_reboot(places, old), "stale": [list(one) for one in old]}


def _texts(value: object) -> List[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ValueError("a list of texts is none")
    return value
