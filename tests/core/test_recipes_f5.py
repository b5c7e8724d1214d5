"""The iRules of F5 run in plain Tcl, with BIG-IP's commands played: what a client brings along never passes."""

import shutil
import ssl
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from mtls_auth import Reason
from mtls_auth.proxy_secret import DEFAULT_HEADER
from mtls_auth.recipes import RECIPES, Places
from mtls_auth.testing import CertificateAuthority, IssuedCertificate
from tests.core.conftest import Answer, Request, through_asgi

TCLSH = shutil.which("tclsh")
SECRET = "3JmYxVQ0o8n+ZyC/kJ2m5w1hT7sRq9uXb4LdPfGvNaE="
FORGED = ("TLS-Client-Cert", "TLS_Client_Cert", "tls_client-cert", "X-SSL-Client-Verify", "X_SSL-Client_Verify")

# BIG-IP's own commands, as far as the rules use them. "remove" takes one header away, the last.
BIG_IP = r"""
set headers {}
foreach line [split [string trim $::env(HEADERS)] \n] {
    lappend headers [list [lindex [split $line :] 0] [string range $line [string first : $line]+1 end]]
}
proc when {event body} { if {$event eq "HTTP_REQUEST"} { uplevel #0 $body } }
proc indices {name} {
    set found {}
    for {set i 0} {$i < [llength $::headers]} {incr i} {
        if {[string equal -nocase [lindex $::headers $i 0] $name]} { lappend found $i }
    }
    return $found
}
namespace eval HTTP {}
proc HTTP::header {command args} {
    set found [indices [lindex $args 0]]
    switch -- $command {
        names { return [lmap header $::headers {lindex $header 0}] }
        exists { return [expr {[llength $found] > 0}] }
        remove { set ::headers [lreplace $::headers [lindex $found end] [lindex $found end]] }
        insert { lappend ::headers $args }
        default { error "HTTP::header $command" }
    }
}
namespace eval SSL {}
proc SSL::cert {which} {
    if {$which eq "count"} { return [expr {$::env(PEM) ne ""}] }
    return [binary decode base64 [join [lrange [split [string trim $::env(PEM)] \n] 1 end-1] ""]]
}
proc SSL::verify_result {} { return $::env(VERDICT) }
namespace eval X509 {}
proc X509::whole {certificate} { return $::env(PEM) }
namespace eval PROFILE {}
proc PROFILE::exists {name} { return 1 }
proc b64encode {data} { return [binary encode base64 $data] }
source [lindex $argv 0]
foreach header $headers { puts [join $header :] }
"""

pytestmark = pytest.mark.skipif(TCLSH is None, reason="tclsh is not installed")


def behind(
    name: str, folder: Path, sent: Sequence[tuple[str, str]], *, der: bytes | None = None, verdict: str = "0"
) -> Answer:
    """Send headers through the rule, to an application with the recipe's own settings."""
    assert TCLSH is not None
    recipe, places = RECIPES[name], Places(secret=SECRET)
    (rule,) = recipe.configuration(places).values()
    (folder / "rule.tcl").write_text(rule)
    (folder / "big-ip.tcl").write_text(BIG_IP)
    environment = {
        "HEADERS": "\n".join(f"{name}:{value}" for name, value in [("Host", "app.example.com"), *sent]),
        "PEM": "" if der is None else ssl.DER_cert_to_PEM_cert(der),
        "VERDICT": verdict,
    }
    command = [TCLSH, str(folder / "big-ip.tcl"), str(folder / "rule.tcl")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    passed = [(line.partition(":")[0], line.partition(":")[2].strip()) for line in done.stdout.splitlines()]
    assert [value for header, value in passed if header.lower() == DEFAULT_HEADER] == [SECRET]
    made: dict[str, object] = {"app": None}
    exec(compile(recipe.settings("asgi", places), "settings", "exec"), made)  # noqa: S102  # our own text
    return through_asgi(made["authenticator"], Request(headers=passed, peer="127.0.0.1"))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def leaf(ca: CertificateAuthority) -> IssuedCertificate:
    """Return a certificate that the appliance verified."""
    return ca.issue("alice")


def forgeries(value: str) -> list[tuple[str, str]]:
    """Return the headers that a client brings along, each twice."""
    names = [*FORGED, *FORGED, "X-Proxy-Secret", "x_proxy_secret"]
    return [(name, "0" if "verify" in name.lower() else value) for name in names]


@pytest.mark.parametrize("name", ["f5", "f5-base64"])
def test_certificate(name: str, tmp_path: Path, leaf: IssuedCertificate) -> None:
    """The certificate arrives in the rule's encoding, and is believed for the verdict alone."""
    assert behind(name, tmp_path, [], der=leaf.der).subject_cn == "alice"
    assert behind(name, tmp_path, [], der=leaf.der, verdict="18").reason is Reason.PROXY_REJECTED
    assert behind(name, tmp_path, []).kind == "anonymous"


@pytest.mark.parametrize("name", ["f5", "f5-base64"])
def test_forged_headers(name: str, tmp_path: Path, leaf: IssuedCertificate, ca: CertificateAuthority) -> None:
    """Whatever a client brings along, in any spelling and number, is gone: with a certificate and without one."""
    victim = ca.issue("victim")
    pem = ssl.DER_cert_to_PEM_cert(victim.der).replace("\n", " ")
    for value in (pem, "MIIB"):
        assert behind(name, tmp_path, forgeries(value)).kind == "anonymous"
        assert behind(name, tmp_path, forgeries(value), der=leaf.der).subject_cn == "alice"
