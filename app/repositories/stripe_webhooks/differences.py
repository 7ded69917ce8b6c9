"""Questions to stripe_differences: what reconciliation found, and what became of it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, literal_column, select, update
from sqlalchemy.dialects.postgresql import insert

from app.models.stripe_webhooks import StripeDifference
from app.repositories.base import Repository

IS_OPEN = StripeDifference.status == "open"


class DifferenceRepository(Repository[StripeDifference]):
    """What Stripe and our rows disagree about, for unscoped sessions."""

    model = StripeDifference

    def listed(self) -> Select[Any]:
        """The statement of a list; its rows carry `created_at` for the cursor."""
        columns = [
            getattr(StripeDifference, column.key) for column in StripeDifference.__mapper__.column_attrs
        ]
        return select(*columns, StripeDifference.first_seen_at.label("created_at"))

    async def note(self, values: dict[str, Any]) -> tuple[UUID, bool]:
        """Open a difference, or see an open one again with what it is now; its id, and whether it is new."""
        changes = {name: values[name] for name in ("expected", "actual", "explanation", "repair")}
        statement: Any = (
            insert(StripeDifference)
            .values(**values, last_seen_at=func.clock_timestamp())
            .on_conflict_do_update(
                index_elements=["kind", "stripe_id"],
                # A parameter would hide from PostgreSQL which index is meant.
                index_where=literal_column("status = 'open'"),
                set_={**changes, "last_seen_at": func.clock_timestamp()},
            )
            .returning(StripeDifference.id, literal_column("xmax = 0"))
        )
        row = (await (await self.session.connection()).execute(statement)).one()
        return row[0], bool(row[1])

    async def close(self, difference_id: UUID, *, by: str) -> bool:
        """Note that an open difference was repaired; False when it is not open any more."""
        statement = (
            update(StripeDifference)
            .where(StripeDifference.id == difference_id, IS_OPEN)
            .values(status="repaired", closed_at=func.clock_timestamp(), closed_by=by)
            .execution_options(synchronize_session=False)
        )
        found = await self.session.execute(statement)
        return bool(found.rowcount)  # type: ignore[attr-defined]  # an UPDATE answers with a CursorResult

    async def close_unseen(self, kinds: Sequence[str], before: datetime, *, by: str) -> int:
        """Note that differences which were last seen before that moment are gone; how many."""
        statement = (
            update(StripeDifference)
            .where(IS_OPEN, StripeDifference.kind.in_(kinds), StripeDifference.last_seen_at < before)
            .values(status="repaired", closed_at=func.clock_timestamp(), closed_by=by)
            .execution_options(synchronize_session=False)
        )
        found = await self.session.execute(statement)
        return int(found.rowcount)  # type: ignore[attr-defined]  # as above
