from django.db import models


class StateVersion(models.Model):
    """One row, raised in the transaction of every change: what caches compare to know that they are stale."""

    version = models.BigIntegerField(default=0)

    class Meta:
        verbose_name = "state version"
        verbose_name_plural = "state versions"

    def __str__(self) -> str:
        return str(self.version)
