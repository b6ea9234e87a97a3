"""`prices:` of a policy: what an hour of a device costs, for `ftgate plan`."""

from __future__ import annotations

from gate.devices import DEVICES
from gate.policy.fields import Section

MOST = 1e6


def read_prices(section: Section) -> tuple[tuple[str, float], ...]:
    """(device, price of an hour) in the policy's order, in whatever currency the team thinks in."""
    if "prices" not in section.data:
        return ()
    entry = section.section("prices", section.data["prices"])
    if entry is None:
        return ()
    entry.only(tuple(DEVICES))
    found = ((name, entry.number(name, 0.0, MOST)) for name in entry.data if name in DEVICES)
    return tuple((name, price) for name, price in found if price is not None)
