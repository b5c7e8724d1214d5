"""Sphinx configuration: `sphinx-build -W -n docs OUTPUT`."""

import sys
from pathlib import Path

_HERE = Path(__file__).parent
sys.path[:0] = [str(_HERE), str(_HERE.parent)]

import mtls_auth  # noqa: E402  # found by the path above, where the package is not installed

project = "mtls-auth"
author = "the mtls-auth developers"
version = release = mtls_auth.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "ext"]
exclude_patterns = ["_build"]
root_doc = "index"
nitpicky = True
smartquotes = False

html_theme = "furo"
html_title = f"mtls-auth {release}"
html_show_copyright = False
html_copy_source = False
html_static_path = ["static"]
html_css_files = ["tables.css"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# The docstrings write code in single backticks.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True

# Names of other projects, whose inventories a build without a network cannot read.
nitpick_ignore_regex = [
    (r"py:.*", r"(argparse|ast|collections|datetime|enum|ipaddress|os|pathlib|ssl|typing|x509)\..*"),
    (r"py:.*", r"(asgiref|cryptography|django|starlette|uvicorn)\..*"),
    (
        r"py:class",
        r"(list\[tuple\[bytes|tuple\[str \| bytes)",
    ),  # an alias in a dataclass field, of which half is looked up
    (r"py:.*", r"(WSGIApplication|WSGIEnvironment|StartResponse|AbstractBaseUser|View)"),
    (r"py:class", r"mtls_auth\.servers\.wsgiref\.S"),  # a type variable
]
