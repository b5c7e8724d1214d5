"""Configurations of TLS terminators with the settings of the application behind them: `RECIPES["nginx"]`.

One text serves the command line, the documentation and the tests that run it. Adding a terminator: a template in
`templates/` and a row.
"""

from collections.abc import Mapping
from types import MappingProxyType

from mtls_auth.recipes import clouds, clusters, self_hosted
from mtls_auth.recipes.application import FORMATS, Format
from mtls_auth.recipes.places import Places
from mtls_auth.recipes.recipe import Recipe

__all__ = ["FORMATS", "RECIPES", "Format", "Places", "Recipe"]

_ROWS = (*self_hosted.RECIPES, *clusters.RECIPES, *clouds.RECIPES)
RECIPES: Mapping[str, Recipe] = MappingProxyType({recipe.name: recipe for recipe in _ROWS})
