"""What single products lack, such as a release or a secret: a fault of one product each, and all are said at once."""

from collections.abc import Iterable, Mapping

from rolecall.errors import ConfigFault, Fault, FetchFault, HostFault
from rolecall.forms.mistakes import Mistake, dotted


def all_of(faults: Mapping[str, Fault]) -> Fault:
    """The faults of several products as one, of the kind that weighs most."""
    if len(faults) == 1:
        [fault] = faults.values()
        return fault
    reasons = "\n".join(f"  {name}: {fault.message}" for name, fault in faults.items())
    return _of_heaviest_kind(
        faults.values(), f"{len(faults)} products cannot be deployed as the document says:\n{reasons}"
    )


def joined(faults: Iterable[Fault]) -> Fault:
    """Several faults of one product, or of the node, as one."""
    faults = list(faults)
    return faults[0] if len(faults) == 1 else _of_heaviest_kind(faults, "; ".join(fault.message for fault in faults))


def by_product(mistakes: Iterable[Mistake]) -> dict[str, Fault]:
    """Mistakes in what the document says of products, for each product as one fault."""
    faults: dict[str, list[Fault]] = {}
    for mistake in mistakes:
        fault = ConfigFault(f"{dotted(mistake.path)}: {mistake.message}", mistake.hint)
        faults.setdefault(str(mistake.path[1]), []).append(fault)
    return {product: joined(entries) for product, entries in faults.items()}


def _of_heaviest_kind(faults: Iterable[Fault], message: str) -> Fault:
    heaviest = max(faults, key=lambda fault: fault.exit_code)
    kind = next(kind for kind in (ConfigFault, FetchFault, HostFault) if isinstance(heaviest, kind))
    hints = dict.fromkeys(fault.hint for fault in faults if fault.hint)
    return kind(message, "; ".join(hints), heaviest.cause)
