"""What people type: serial numbers, issuers, certificates, selections."""

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import QueryDict
from django.utils.datastructures import MultiValueDict

from django_mtls.advice import ADVICE, advise
from django_mtls.forms.certificate_input import CertificateInput
from django_mtls.forms.issuer_name import parse_issuer
from django_mtls.forms.serial_number import parse_serial
from django_mtls.forms.transition import MAX_CERTIFICATES, RevocationForm, TransitionForm
from django_mtls.models import CRLReason
from mtls_auth import CertificateRejected, Reason
from tests.django.operators import CA

LEAF = CA.issue("alice")


class TestSerialNumber:
    @pytest.mark.parametrize(
        "text", ["ab12", "AB12", "ab:12", "AB 12", "0xab12", "0XAB12", "00:ab:12", " ab12\n", "0000ab12"]
    )
    def test_accepted(self, text: str) -> None:
        """A serial number is read in the forms in which tools print it."""
        assert parse_serial(text) == 0xAB12

    def test_largest(self) -> None:
        """Twenty octets are the most. RFC 5280 §4.1.2.2"""
        assert parse_serial("f" * 40) == (1 << 160) - 1

    @pytest.mark.parametrize("text", ["", "0", "00:00", "-1", "xyz", "0x", "1.5", "1" + "0" * 40, "f" * 10_000, "١٢"])
    def test_refused(self, text: str) -> None:
        """What is no positive hexadecimal number of at most twenty octets is refused."""
        with pytest.raises(ValidationError) as raised:
            parse_serial(text)
        assert raised.value.code == "serial"


class TestIssuer:
    @pytest.mark.parametrize(
        "text",
        [
            "CN=Example CA,O=Example",
            "cn=Example CA,o=Example",
            " CN=Example CA,O=Example ",
            "2.5.4.3=Example CA,O=Example",
        ],
    )
    def test_accepted(self, text: str) -> None:
        """A name is read from RFC 4514 text, types in any case or as numbers."""
        assert parse_issuer(text) == x509.Name.from_rfc4514_string("CN=Example CA,O=Example")

    def test_openssl_names(self) -> None:
        """Types that openssl prints by name are known."""
        assert parse_issuer("emailAddress=ca@example.com,CN=CA") == x509.Name(
            [x509.NameAttribute(NameOID.COMMON_NAME, "CA"), x509.NameAttribute(NameOID.EMAIL_ADDRESS, "ca@example.com")]
        )

    def test_certificates_issuer(self) -> None:
        """What the admin shows as issuer is read back."""
        assert parse_issuer(LEAF.certificate.issuer.rfc4514_string()) == LEAF.certificate.issuer

    @pytest.mark.parametrize(
        "text", ["", "CA", "/C=DE/CN=CA", "C = DE, CN = CA", "CN=", "foo=bar", "CN=#zz", "CN=a\x00"]
    )
    def test_refused(self, text: str) -> None:
        """What is no name is refused."""
        with pytest.raises(ValidationError) as raised:
            parse_issuer(text)
        assert raised.value.code == "issuer"


class TestCertificateInput:
    def test_pasted(self) -> None:
        """A pasted certificate is read, and stays in the form."""
        form = CertificateInput(QueryDict(mutable=True) | {"pem": LEAF.pem.decode()})
        assert form.is_valid()
        assert form.certificate is not None
        assert form.certificate.der == LEAF.der
        assert form.cleaned_data == {}
        assert "BEGIN CERTIFICATE" in str(form["pem"].value())

    def test_nothing(self) -> None:
        """Nothing is no error here: the form that uses this one decides."""
        form = CertificateInput({})
        assert form.is_valid()
        assert (form.certificate, form.was_used) == (None, False)

    @pytest.mark.parametrize("data", [QueryDict(f"a-pem={'x' * 9}"), {"a-pem": "x" * 9}], ids=["query", "dict"])
    def test_forgotten(self, data: QueryDict | dict[str, str]) -> None:
        """What was no certificate is gone from the form's data, and stays in the caller's."""
        form = CertificateInput(data, prefix="a")
        assert not form.is_valid()
        assert "a-pem" not in form.data
        assert "a-pem" in data
        assert form.was_used

    def test_file_is_not_kept(self) -> None:
        """The form hands over the certificate alone."""
        form = CertificateInput({}, MultiValueDict({"file": [SimpleUploadedFile("a.der", LEAF.der)]}))
        assert form.is_valid()
        assert form.cleaned_data == {}

    def test_labels(self) -> None:
        """Each field has a label and a help text that belongs to it."""
        html = CertificateInput().as_p()
        for name in ("pem", "file"):
            assert f'<label for="id_{name}">' in html
            assert f'aria-describedby="id_{name}_helptext"' in html


class TestSelection:
    @pytest.mark.parametrize("count", [1, 2, MAX_CERTIFICATES])
    def test_accepted(self, count: int) -> None:
        """A selection is one field, whatever its size."""
        form = TransitionForm({"certificates": ",".join(map(str, range(count)))})
        assert form.is_valid()
        assert form.cleaned_data["certificates"] == list(range(count))
        assert form.reason is CRLReason.CERTIFICATE_HOLD

    def test_order(self) -> None:
        """The reason comes before the comment, and none is chosen beforehand."""
        form = RevocationForm()
        assert [field.name for field in form.visible_fields()] == ["revocation_reason", "comment"]
        assert "selected" not in str(form["revocation_reason"]).replace('<option value="" selected>', "")


class TestAdvice:
    @pytest.mark.parametrize("reason", ADVICE)
    def test_sentences(self, reason: Reason) -> None:
        """Every advice is a sentence after the refusal."""
        text = advise(CertificateRejected(reason, "for a test"))
        assert text == f"Refused: for a test. {ADVICE[reason]}"
        assert text.endswith(".")

    def test_without_detail(self) -> None:
        """A reason alone is said in words."""
        assert advise(CertificateRejected(Reason.UNVERIFIED)) == "Refused: unverified."
