"""What this node writes into the stores: at once to those that take it, to the others once they are there again."""

import base64

from rolecall.errors import Fault, FetchFault
from rolecall.node.node import Node
from rolecall.node.notes import Waiting
from rolecall.node.owner import foreign_owner
from rolecall.store.chain import all_of

_MOST = 16  # objects that wait for one store; there is one key for each name that this server ever had
_Objects = dict[str, bytes]  # key → object


class Outbox:
    """A store to write to, whose late copies wait on disk: the last version of each object only."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def put(self, key: str, data: bytes) -> None:
        """Write an object. Raises FetchFault if no store takes it now; then it waits for all of them.

        While another instance's state lies here, nothing is written: what waits there is not this machine's.
        """
        if foreign_owner(self.node):
            return
        waiting, urls = self._waiting(), [store.url for store in self.node.store.stores]
        for url in urls:
            waiting.setdefault(url, {})[key] = data
        faults = [fault for url in urls if (fault := self._send(waiting[url], url))]
        self._keep(waiting)
        if len(faults) == len(urls):
            raise all_of(faults)

    def flush(self) -> None:
        """Try once more what waits, and say nothing: a store that is still out is asked again by the next run."""
        if not foreign_owner(self.node) and (waiting := self._waiting()):
            for url, objects in waiting.items():
                self._send(objects, url)
            self._keep(waiting)

    def _send(self, objects: _Objects, url: str) -> Fault | None:
        """Everything that waits for one store; one that was out in this run is not asked again."""
        chain, failed = self.node.store, None
        store = next((store for store in chain.stores if store.url == url), None)
        if store is None:  # not in agent.toml any more
            objects.clear()
            return None
        for key, data in list(objects.items()):
            try:
                if url in chain.out:
                    raise chain.out[url]
                store.put(key, data)
                del objects[key]
            except Fault as fault:  # of one store: the others have it all the same
                failed = fault
                if isinstance(fault, FetchFault):
                    chain.mark_out(store, fault)
                if fault.cause == "not-writable":  # a mirror that takes none, ever
                    objects.clear()
                    break
        return failed

    def _waiting(self) -> dict[str, _Objects]:
        return {
            url: {key: data for key, text in objects.items() if (data := _decoded(text)) is not None}
            for url, objects in self.node.notes.read(Waiting).stores.items()
        }

    def _keep(self, waiting: dict[str, _Objects]) -> None:
        stores = {}
        for url, objects in waiting.items():
            if newest := list(objects.items())[-_MOST:]:
                stores[url] = {key: base64.b64encode(data).decode() for key, data in newest}
        if stores:
            self.node.notes.write(Waiting(stores))
        elif self.node.notes.read(Waiting).stores:
            self.node.notes.remove(Waiting)


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return None
