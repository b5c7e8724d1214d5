"""What is forged for which application, and whose certificate."""

from typing import Any

import pytest
from cryptography import x509

from mtls_auth import NGINX, Dialect, codecs
from mtls_auth.dialects import BUILTIN
from mtls_auth.errors import ConfigurationError
from mtls_auth.probing.forgeries import MAX_CHARACTERS, Forgery, Victim, forgeries
from mtls_auth.testing import CertificateAuthority
from mtls_auth.testing.headers import headers_for


@pytest.fixture(scope="module")
def victim() -> Victim:
    """Somebody with every kind of name."""
    return Victim.mint()


def reads(*dialects: Dialect) -> list[dict[str, Any]]:
    """Return what the endpoint of an application says that reads these."""
    return [{"name": dialect.name, "headers": list(dialect.headers)} for dialect in dialects]


def test_a_minted_victim_is_nobody_s() -> None:
    """Two victims have nothing in common by which an application would know them."""
    first, second = Victim.mint(), Victim.mint()
    assert first.identifiers.isdisjoint(second.identifiers)


def test_identifiers(victim: Victim) -> None:
    """A victim is recognised by both fingerprints, by its SPIFFE ID, and by its name in a mesh."""
    certificate = x509.load_der_x509_certificate(victim.der)
    san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    (uri,) = san.get_values_for_type(x509.UniformResourceIdentifier)
    assert uri in victim.identifiers
    assert sorted(len(text) for text in victim.identifiers - {uri}) == [40, 64]


def test_a_certificate_without_names() -> None:
    """A given certificate need not have a name: then it is recognised by its fingerprints."""
    victim = Victim.of(CertificateAuthority().issue("alice").der)
    assert sorted(len(text) for text in victim.identifiers) == [40, 64]


@pytest.mark.parametrize("name", BUILTIN)
def test_every_dialect_is_forged(name: str, victim: Victim) -> None:
    """For whatever dialect an application reads, its very headers come first and alone."""
    dialect = BUILTIN[name]
    first = forgeries(None, victim, reads(dialect))[0]
    assert name in first.dialects
    assert first.headers == tuple(headers_for(dialect, victim.der))
    assert first.leaf == dialect.leaf


@pytest.mark.parametrize("dialect", BUILTIN.values(), ids=BUILTIN)
def test_all_dialects_are_forged(dialect: Dialect, victim: Victim) -> None:
    """The headers of all the others are forged too, each name once in a request that a server reads."""
    made = forgeries(None, victim, reads(dialect))
    assert {name for forgery in made for name in forgery.dialects} == set(BUILTIN)
    for forgery in made:
        names = [name for name, _value in forgery.headers]
        assert len(set(names)) == len(names)
        assert forgery.size <= MAX_CHARACTERS


def test_other_encodings_of_the_same_header_come_alone(victim: Victim) -> None:
    """Whatever writes the header that the application reads does not share a request with another dialect."""
    made = forgeries(None, victim, reads(NGINX))
    alone = [forgery for forgery in made if forgery.leaf == NGINX.leaf]
    assert made[: len(alone)] == alone
    assert {"nginx", "haproxy", "caddy", "apache"} <= {name for forgery in alone for name in forgery.dialects}
    assert all(forgery.names <= set(BUILTIN[forgery.dialects[0]].headers) for forgery in alone)


def test_an_application_on_its_own_socket(victim: Victim) -> None:
    """An application that reads no header is sent all of them, in as few requests as they fit into."""
    made = forgeries(None, victim, [])
    assert {name for forgery in made for name in forgery.dialects} == set(BUILTIN)
    assert len(made) < len(BUILTIN) / 2


@pytest.mark.parametrize("dialect", [NGINX, BUILTIN["apache"], BUILTIN["cloudflare"], BUILTIN["istio"]])
def test_headers_under_other_names(dialect: Dialect, victim: Victim) -> None:
    """An application that reads a dialect under other names is sent the headers under those names."""
    renamed = dialect.with_headers(**{field: f"x-mine-{field}" for field in dialect.fields})
    first = forgeries(None, victim, reads(renamed))[0]
    assert first.headers == tuple(headers_for(renamed, victim.der))
    assert first.leaf == "x-mine-leaf"


def test_chosen_dialects(victim: Victim) -> None:
    """Dialects that were chosen are forged alone, under the names that were given."""
    chosen = [NGINX.with_headers(leaf="x-cert"), BUILTIN["traefik"]]
    read = reads(NGINX.with_headers(leaf="x-cert"))
    assert [forgery.dialects for forgery in forgeries(chosen, victim, read)] == [("nginx",), ("traefik",)]


def test_a_header_that_nothing_forges(victim: Victim) -> None:
    """An application that reads another header than the chosen ones cannot be judged."""
    with pytest.raises(ConfigurationError, match=r"reads x-cert, which nothing here forges: .* --header leaf=NAME"):
        forgeries([NGINX], victim, reads(NGINX.with_headers(leaf="x-cert")))


def test_a_name_that_the_victim_does_not_have() -> None:
    """A victim whose certificate has no name of the kind that the application reads cannot be pretended."""
    victim = Victim.of(CertificateAuthority().issue("alice").der)
    with pytest.raises(ConfigurationError, match="reads l5d-client-id, which nothing here forges"):
        forgeries(None, victim, reads(BUILTIN["linkerd"]))


@pytest.mark.parametrize("name", ["mine", "nginx"])
def test_a_foreign_dialect(name: str, victim: Victim) -> None:
    """How a dialect that is not built in is written is unknown, unless the operator names one that is like it."""
    mine = Dialect(name=name, leaf="x-ssl-client-cert", decode=codecs.escaped_pem)
    with pytest.raises(ConfigurationError, match=rf"reads the dialect '{name}'.* --dialect"):
        forgeries(None, victim, reads(mine))
    assert forgeries([NGINX], victim, reads(mine)) == [
        Forgery(dialects=("nginx",), headers=tuple(headers_for(NGINX, victim.der)))
    ]
