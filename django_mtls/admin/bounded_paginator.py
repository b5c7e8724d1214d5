"""Pages of a table that may have a million rows."""

from typing import TYPE_CHECKING, Any

from django.core.paginator import Paginator
from django.utils.functional import cached_property

if TYPE_CHECKING:
    _Paginator = Paginator[Any]
else:
    _Paginator = Paginator

MAX_LISTED = 10_000


class BoundedPaginator(_Paginator):
    """Ends after `MAX_LISTED` rows: neither a count nor a page reads further. `is_cut` says that there are more."""

    @cached_property
    def _seen(self) -> int:
        rows: Any = self.object_list
        return int(rows[: MAX_LISTED + 1].count())

    @property
    def count(self) -> int:
        return min(self._seen, MAX_LISTED)

    @property
    def is_cut(self) -> bool:
        return self._seen > MAX_LISTED
