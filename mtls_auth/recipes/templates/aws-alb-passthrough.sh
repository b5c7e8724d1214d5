# AWS Application Load Balancer for @{server_name}, mutual TLS in passthrough mode. Not run here: written from its
# documentation. Prefer verify mode (the recipe aws-alb): this one is for a CA that the load balancer cannot verify.
#
# Set first: LOAD_BALANCER_ARN, LISTENER_ARN (of the HTTPS listener), LOAD_BALANCER_GROUP and APPLICATION_GROUP (the
# security groups of the load balancer and of the application).
set -eu

# The load balancer forwards what the client presented, whoever signed it. The application verifies it, up to the CA in
# its own @{client_ca}.
aws elbv2 modify-listener --listener-arn "$LISTENER_ARN" --mutual-authentication Mode=passthrough

# Python servers read X_Amzn_Mtls_Clientcert as X-Amzn-Mtls-Clientcert: no header passes whose name has anything but
# letters, digits and hyphens.
aws elbv2 modify-load-balancer-attributes --load-balancer-arn "$LOAD_BALANCER_ARN" \
    --attributes Key=routing.http.drop_invalid_header_fields.enabled,Value=true

# The load balancer can rename its headers, but not add one of yours: there is no secret. The application believes
# whoever connects from @{proxy_address}. Let that be the subnets of the load balancer, let nothing else run in them,
# and let the application's security group admit the load balancer's and nobody else: take its other rules away.
aws ec2 authorize-security-group-ingress --group-id "$APPLICATION_GROUP" --protocol tcp --port @{upstream_port} \
    --source-group "$LOAD_BALANCER_GROUP"

# Whether the load balancer removes a client's own X-Amzn-Mtls-Clientcert is not documented. Certificates are no
# secrets: if a client without one can send somebody else's in this header, it is that somebody. So send a forged one
# (mtls-auth probe) before you rely on this, and let no other listener lead to these targets, whatever its port.
#
# Against it helps a name that nobody can guess, which the application must be told: in Django with
# "HEADERS": {"leaf": "…"}, elsewhere with AWS_ALB_PASSTHROUGH.with_headers(leaf="…").
#    aws elbv2 modify-listener-attributes --listener-arn "$LISTENER_ARN" --attributes \
#        "Key=routing.http.request.x_amzn_mtls_clientcert.header_name,Value=X-Cert-$(openssl rand -hex 12)"
