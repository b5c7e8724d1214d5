"""Appliances, by their users' reports."""

from mtls_auth.recipes.recipe import Recipe

_NOT_RUN = (
    "Not run: this follows what its users report. Look at a request of your own, with a certificate and without one, "
    "before you rely on it."
)

RECIPES = (
    Recipe(
        name="f5",
        title="F5 BIG-IP, an iRule with the PEM",
        dialect="f5",
        files={"client-certificate.tcl": "f5.tcl"},
        observed=False,
        notes=(_NOT_RUN,),
    ),
    Recipe(
        name="f5-base64",
        title="F5 BIG-IP, an iRule with the base64 body",
        dialect="f5-base64",
        files={"client-certificate.tcl": "f5-base64.tcl"},
        observed=False,
        notes=(_NOT_RUN,),
    ),
)
