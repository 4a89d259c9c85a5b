"""What this node writes into the stores: at once to those that take it, to the others once they are there again."""

import base64
import re

from rolecall.errors import Fault, FetchFault
from rolecall.node.node import Node
from rolecall.store.chain import all_of

_NOTE = "outbox"
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_MOST = 16  # objects that wait for one store; there is one key for each name that this server ever had


class Outbox:
    """A store to write to, whose late copies wait on disk: the last version of each object only."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def put(self, key: str, data: bytes) -> None:
        """Write an object. Raises FetchFault if no store takes it now; then it waits for all of them."""
        waiting, urls = self._waiting(), [store.url for store in self.node.store.stores]
        for url in urls:
            waiting.setdefault(url, {})[key] = base64.b64encode(data).decode()
        faults = [fault for url in urls if (fault := self._send(waiting, url))]
        self._keep(waiting)
        if len(faults) == len(urls):
            raise all_of(faults)

    def flush(self) -> None:
        """Try once more what waits, and say nothing: a store that is still out is asked again by the next run."""
        if waiting := self._waiting():
            for url in list(waiting):
                self._send(waiting, url)
            self._keep(waiting)

    def _send(self, waiting: dict[str, dict[str, str]], url: str) -> Fault | None:
        """Everything that waits for one store; one that was out in this run is not asked again."""
        chain = self.node.store
        store = next((one for one in chain.stores if one.url == url), None)
        objects, failed = waiting.get(url, {}), None
        for key, data in list(objects.items()):
            try:
                if store is None:  # not in agent.toml any more
                    del objects[key]
                elif url in chain.out:
                    raise chain.out[url]
                else:
                    store.put(key, base64.b64decode(data))
                    del objects[key]
            except Fault as fault:  # of one store: the others have it all the same
                failed = fault
                if store is not None and isinstance(fault, FetchFault):
                    chain.mark_out(store, fault)
                if fault.cause == "not-writable":  # a mirror that takes none, ever
                    objects.clear()
                    break
        return failed

    def _waiting(self) -> dict[str, dict[str, str]]:
        note = self.node.notes.read(_NOTE)
        return {
            url: {key: data for key, data in objects.items() if isinstance(data, str) and _BASE64.fullmatch(data)}
            for url, objects in note.items() if isinstance(objects, dict)
        }  # fmt: skip

    def _keep(self, waiting: dict[str, dict[str, str]]) -> None:
        kept = {url: dict(list(objects.items())[-_MOST:]) for url, objects in waiting.items() if objects}
        if kept:
            self.node.notes.write(_NOTE, kept)
        elif self.node.notes.read(_NOTE):
            self.node.notes.remove(_NOTE)
