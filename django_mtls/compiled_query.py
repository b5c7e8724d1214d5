"""SQL that the ORM compiled once: it compiles anew at every call, which costs several times the query itself."""

from typing import Any

from django.core.exceptions import MultipleObjectsReturned
from django.db import connections
from django.db.models import QuerySet


class CompiledQuery:
    """A `values_list` queryset whose placeholders (`"%name%"`) are filled in at each call."""

    def __init__(self, queryset: "QuerySet[Any, Any]") -> None:
        compiler = queryset.query.get_compiler(using=queryset.db)
        self._sql, self._params = compiler.as_sql()
        self._converters = compiler.get_converters(column[0] for column in compiler.select)
        self._alias = queryset.db

    def one(self, **values: str) -> tuple[Any, ...] | None:
        """Run the query on this thread's connection and return its row, None without one.

        Raises `MultipleObjectsReturned` for several: the first of them would be anybody's choice.
        """
        connection = connections[self._alias]
        params = [values[param[1:-1]] if _is_placeholder(param) else param for param in self._params]
        with connection.cursor() as cursor:
            cursor.execute(self._sql, params)
            rows = cursor.fetchmany(2)
        if not rows:
            return None
        if len(rows) > 1:
            raise MultipleObjectsReturned
        converted = list(rows[0])
        for index, (converters, expression) in self._converters.items():
            for convert in converters:
                converted[index] = convert(converted[index], expression, connection)
        return tuple(converted)


def _is_placeholder(param: object) -> bool:
    return isinstance(param, str) and len(param) > 2 and param[0] == param[-1] == "%"
