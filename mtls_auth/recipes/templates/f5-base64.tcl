# F5 BIG-IP for @{server_name}: an iRule for the virtual server. Not run here: inferred from what others use. It holds a
# secret.
#
# In the client SSL profile: Client Certificate "require" refuses clients without a certificate here, "request" leaves
# them to the application; Trusted Certificate Authorities is your clients' CA up to its root, and no other; Frequency
# is "always". In the HTTP profile nothing may insert headers of these names.
when HTTP_REQUEST {
    # "insert" adds to what the client sent: so first everything goes that Python servers would read under these names.
    # Always, and never with a condition.
    foreach name [HTTP::header names] {
        switch -- [string map {_ -} [string tolower $name]] {
            tls-client-cert - x-ssl-client-verify - x-proxy-secret {
                while { [HTTP::header exists $name] } { HTTP::header remove $name }
            }
        }
    }
    # The application believes nothing without this, for others may connect from the same address.
    HTTP::header insert "X-Proxy-Secret" "@{secret}"

    if { [PROFILE::exists clientssl] && [SSL::cert count] > 0 } {
        # The certificate as it is, in base64.
        HTTP::header insert "TLS-Client-Cert" [b64encode [SSL::cert 0]]
        # OpenSSL's code, 0 for verified. With "request", certificates of anybody arrive: this says so.
        HTTP::header insert "X-SSL-Client-Verify" [SSL::verify_result]
    }
}
# Every further virtual server that leads to the application needs the rule, also one without TLS: there it removes what
# clients have forged. See on a resumed session of your own that the certificate is still there: without it the client
# is nobody.
