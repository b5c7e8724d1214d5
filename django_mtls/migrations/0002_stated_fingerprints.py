from hashlib import sha1
from typing import Any

from django.conf import settings
from django.db import migrations, models


def fill_in(apps: Any, schema_editor: Any) -> None:
    """Compute the SHA-1 fingerprints of the certificates that are enrolled already."""
    certificates = apps.get_model("django_mtls", "EnrolledCertificate").objects.using(schema_editor.connection.alias)
    batch: list[Any] = []
    for certificate in certificates.only("pk", "der").order_by().iterator(chunk_size=1000):
        certificate.fingerprint_sha1 = sha1(bytes(certificate.der), usedforsecurity=False).hexdigest()
        batch.append(certificate)
        if len(batch) == 1000:
            certificates.bulk_update(batch, ["fingerprint_sha1"])
            batch = []
    certificates.bulk_update(batch, ["fingerprint_sha1"])


class Migration(migrations.Migration):
    dependencies = [
        ("django_mtls", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="enrolledcertificate",
            name="fingerprint_sha1",
            field=models.CharField(
                db_default="", default="", editable=False, max_length=40, verbose_name="SHA-1 fingerprint"
            ),
        ),
        migrations.RunPython(fill_in, migrations.RunPython.noop, elidable=True),
        migrations.AddIndex(
            model_name="enrolledcertificate",
            index=models.Index(fields=["fingerprint_sha1"], name="mtls_certificate_sha1"),
        ),
    ]
