"""What the database says of a certificate, in one row of one query: by fingerprint, or by common name."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import lru_cache
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import MultipleObjectsReturned
from django.db import router
from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery, Value

from django_mtls.compiled_query import CompiledQuery
from django_mtls.models import EnrolledCertificate, Revocation, State
from mtls_auth import CertificateRejected, Identity, Reason
from mtls_auth.issuer_key import issuer_key
from mtls_auth.names import check_stable

_issuer_key = lru_cache(maxsize=256)(issuer_key)


class Row(NamedTuple):
    """What the database says of one certificate. `user_values` are the columns of its user."""

    certificate_id: int | None
    state: str
    is_revoked: bool
    user_values: Sequence[Any]


# What a JSON or array column holds: a remembered row must not be changed through one request's user.
_MUTABLE = (dict, list, set)


class Lookup:
    """Base: the user's columns, and one compiled query for each database."""

    def __init__(self) -> None:
        self._user_model: Any = get_user_model()
        self._user_fields = tuple(field.attname for field in self._user_model._meta.concrete_fields)
        self._pk_index = self._user_fields.index(str(self._user_model._meta.pk.attname))
        self._active_index = self._user_fields.index("is_active") if "is_active" in self._user_fields else None
        self._name_index = self._user_fields.index(self._user_model.USERNAME_FIELD)
        self._queries: dict[str, CompiledQuery] = {}

    @property
    def alias(self) -> str:
        """The database that this request reads certificates from."""
        return router.db_for_read(EnrolledCertificate)

    def has_user(self, row: Row) -> bool:
        """Whether the certificate has a user."""
        return row.user_values[self._pk_index] is not None

    def is_active(self, row: Row) -> bool:
        """Whether the row's user may log in."""
        if self._active_index is None:  # a user model without the column answers by an attribute
            return bool(self.user(row).is_active)
        return bool(row.user_values[self._active_index])

    def user(self, row: Row) -> AbstractBaseUser:
        """Build a new user object from a row that has one, without a query."""
        values = [deepcopy(value) if isinstance(value, _MUTABLE) else value for value in row.user_values]
        user: AbstractBaseUser = self._user_model.from_db(self.alias, self._user_fields, values)
        return user

    def fetch(self, identity: Identity) -> Row | None:
        """Ask the database, in one query."""
        alias = self.alias
        query = self._queries.get(alias)
        if query is None:
            query = self._queries[alias] = CompiledQuery(self.queryset(alias))
        try:
            row = query.one(**self.parameters(identity))
        except MultipleObjectsReturned as error:
            raise CertificateRejected(Reason.NOT_ENROLLED, "several users have this name") from error
        return self.row(row, identity) if row is not None else None

    def queryset(self, alias: str) -> "QuerySet[Any, Any]":
        raise NotImplementedError

    def parameters(self, identity: Identity) -> Mapping[str, str]:
        raise NotImplementedError

    def row(self, row: tuple[Any, ...], identity: Identity) -> Row:
        raise NotImplementedError


class FingerprintLookup(Lookup):
    """The enrolled certificate with this fingerprint, and its user."""

    columns: tuple[str, ...] = ()
    """More of them, which come first."""

    def queryset(self, alias: str) -> "QuerySet[Any, Any]":
        revocations = Revocation.objects.using(alias).filter(
            issuer_key=OuterRef("issuer_key"), serial_number=OuterRef("serial_number")
        )
        return (
            EnrolledCertificate.objects.using(alias)
            .filter(self.condition())
            .order_by()
            .values_list(
                *self.columns, "pk", "state", Exists(revocations), *(f"user__{name}" for name in self._user_fields)
            )
        )

    def condition(self) -> Q:
        """Which rows are this certificate's."""
        return Q(fingerprint_sha256="%fingerprint%")

    def parameters(self, identity: Identity) -> Mapping[str, str]:
        return {"fingerprint": identity.fingerprint_sha256}

    def row(self, row: tuple[Any, ...], identity: Identity) -> Row:
        certificate_id, state, is_revoked, *user_values = row
        return Row(certificate_id, state, is_revoked, user_values)


class CommonNameLookup(Lookup):
    """The user whose name is the common name; the certificate may be enrolled too, and then must agree."""

    def queryset(self, alias: str) -> "QuerySet[Any, Any]":
        revocations = Revocation.objects.using(alias).filter(
            issuer_key=Value("%issuer_key%"), serial_number=Value("%serial_number%")
        )
        enrolled = EnrolledCertificate.objects.using(alias).filter(self.enrolled()).order_by()
        queryset: QuerySet[Any, Any] = (
            self._user_model._default_manager.using(alias)
            .filter(**{self._user_model.USERNAME_FIELD: "%common_name%"})
            .order_by()
            .values_list(
                Subquery(enrolled.values("pk")),
                Subquery(enrolled.values("state")),
                Subquery(enrolled.values("user_id")),
                Exists(revocations),
                *self._user_fields,
            )
        )
        return queryset

    def enrolled(self) -> Q:
        """Which enrolled certificate must agree."""
        return Q(fingerprint_sha256=Value("%fingerprint%"))

    def name(self, identity: Identity) -> str:
        """Return the name that must be the user's."""
        if identity.subject_cn is None:
            raise CertificateRejected(Reason.UNUSABLE_NAME, "the subject has no common name")
        return check_stable(identity.subject_cn, "the common name")

    def parameters(self, identity: Identity) -> Mapping[str, str]:
        return {
            "common_name": self.name(identity),
            "fingerprint": identity.fingerprint_sha256,
            "issuer_key": _issuer_key(identity.certificate.issuer),
            "serial_number": identity.certificate.serial_hex,
        }

    def row(self, row: tuple[Any, ...], identity: Identity) -> Row:
        certificate_id, state, enrolled_user, is_revoked, *user_values = row
        name = user_values[self._name_index]
        # A case-insensitive collation finds `admin` for `ADMIN`.
        if name != self.name(identity):
            raise CertificateRejected(Reason.NOT_ENROLLED, "the user's name is not the common name, letter by letter")
        if certificate_id is not None and enrolled_user != user_values[self._pk_index]:
            raise CertificateRejected(Reason.CONTRADICTORY_EVIDENCE, "the certificate is enrolled for another user")
        return Row(certificate_id, state or State.ACTIVE, is_revoked, user_values)
