-- What lighttpd tells the application: @{folder}/client-certificate.lua. It holds a secret: chmod 600.
local r = lighty.r
local env, headers = r.req_env, r.req_header

-- Python servers read X_SSL_Client_Cert as X-SSL-Client-Cert: no header passes whose name has anything but letters,
-- digits and hyphens. Two loops, for the table must not change while it is read.
local odd = {}
for name in pairs(headers) do
  if string.find(name, "[^%w-]") then odd[#odd + 1] = name end
end
for _, name in ipairs(odd) do headers[name] = nil end

-- Each of these replaces what the client sent under that name; nil removes it. Always, and never with a condition:
-- what is not set here is what the client sent.
-- Percent-encoded: the line breaks of a bare PEM end the headers early. Never copy a name out of the certificate
-- (SSL_CLIENT_S_DN_CN) instead: a line break in it becomes a header of the client's choice.
local certificate = env["SSL_CLIENT_CERT"]
headers["X-SSL-Client-Cert"] = certificate and lighty.c.urlenc(certificate)
-- SUCCESS, FAILED:reason or NONE.
headers["X-SSL-Client-Verify"] = env["SSL_CLIENT_VERIFY"]
-- The application believes none of it without this, for others may connect from the same address.
headers["X-Proxy-Secret"] = "@{secret}"
headers["X-Forwarded-Proto"] = "https"
return 0
