"""Claims on draws: leases that say which owner is sampling a key.

Claims are taken in the order of their keys, and rows of other owners are changed only if their
claim is void, so that no two transactions wait for each other.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import sqlalchemy as sa

from collab.store.database.owner import Owner
from collab.store.database.tables import chunks, claims, insert_new


class DrawLease(NamedTuple):
    """An owner's right to sample a draw until it expires (seconds since 1970)."""

    owner: str
    expires: float


def claims_on(connection: sa.Connection, keys: Sequence[bytes]) -> dict[bytes, DrawLease]:
    """Return the claims on some keys."""
    found: dict[bytes, DrawLease] = {}
    for some in chunks(keys):
        rows = connection.execute(sa.select(claims).where(claims.c.key.in_(some)))
        found |= {row.key: DrawLease(row.owner, row.expires) for row in rows}
    return found


def void(found: Mapping[bytes, DrawLease], owner: Owner, now: float) -> set[bytes]:
    """Return the keys with a void claim: it has expired, or `owner` sees that its owner ended."""
    others = {claim.owner for claim in found.values()} - {str(owner)}
    dead = {other for other in others if Owner.parse(other).has_ended(seen_from=owner)}
    return {
        key
        for key, claim in found.items()
        if claim.owner in dead or (claim.expires < now and claim.owner in others)
    }


def take(
    connection: sa.Connection, keys: Sequence[bytes], owner: Owner, now: float, expires: float
) -> frozenset[bytes]:
    """Claim the keys that are free or have a void claim; return all keys the owner now holds."""
    if not keys:
        return frozenset()
    lease = {"owner": str(owner), "expires": expires}
    connection.execute(
        insert_new(connection, claims), [{"key": key, **lease} for key in sorted(keys)]
    )
    found = claims_on(connection, keys)
    if over := void(found, owner, now):
        same = sa.and_(claims.c.key == sa.bindparam("of"), claims.c.owner == sa.bindparam("by"))
        taken = [{"of": key, "by": found[key].owner, **lease} for key in sorted(over)]
        connection.execute(sa.update(claims).where(same), taken)
        found = claims_on(connection, keys)
    return frozenset(key for key, claim in found.items() if claim.owner == str(owner))


def release(connection: sa.Connection, keys: Collection[bytes], owner: Owner) -> None:
    """Release the owner's claims on some keys."""
    for some in chunks(sorted(keys)):
        mine = sa.and_(claims.c.owner == str(owner), claims.c.key.in_(some))
        connection.execute(sa.delete(claims).where(mine))


def renew(connection: sa.Connection, owner: Owner, expires: float) -> None:
    """Extend all claims of the owner."""
    mine = sa.update(claims).where(claims.c.owner == str(owner))
    connection.execute(mine.values(expires=expires))
