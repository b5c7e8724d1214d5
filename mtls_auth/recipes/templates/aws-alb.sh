# AWS Application Load Balancer for @{server_name}, mutual TLS in verify mode. Not run here: written from its
# documentation.
#
# Set first: BUCKET, LOAD_BALANCER_ARN, LISTENER_ARN (of the HTTPS listener), LOAD_BALANCER_GROUP and APPLICATION_GROUP
# (the security groups of the load balancer and of the application).
set -eu

# Your clients' CA up to its root, and no other.
aws s3 cp "@{client_ca}" "s3://$BUCKET/client-ca.pem"
TRUST_STORE_ARN=$(aws elbv2 create-trust-store --name client-ca \
    --ca-certificates-bundle-s3-bucket "$BUCKET" --ca-certificates-bundle-s3-key client-ca.pem \
    --query 'TrustStores[0].TrustStoreArn' --output text)

# "verify" refuses clients without a good certificate here. The load balancer gives no verdict: the application takes
# every certificate for verified. So never "passthrough", which forwards under another name what nobody verified, and
# never IgnoreClientCertificateExpiry=true.
aws elbv2 modify-listener --listener-arn "$LISTENER_ARN" \
    --mutual-authentication "Mode=verify,TrustStoreArn=$TRUST_STORE_ARN,IgnoreClientCertificateExpiry=false"

# Python servers read X_Amzn_Mtls_Clientcert_Leaf as X-Amzn-Mtls-Clientcert-Leaf: no header passes whose name has
# anything but letters, digits and hyphens.
aws elbv2 modify-load-balancer-attributes --load-balancer-arn "$LOAD_BALANCER_ARN" \
    --attributes Key=routing.http.drop_invalid_header_fields.enabled,Value=true

# The load balancer can rename its headers, but not add one of yours: there is no secret. The application believes
# whoever connects from @{proxy_address}. Let that be the subnets of the load balancer, let nothing else run in them,
# and let the application's security group admit the load balancer's and nobody else: take its other rules away.
aws ec2 authorize-security-group-ingress --group-id "$APPLICATION_GROUP" --protocol tcp --port @{upstream_port} \
    --source-group "$LOAD_BALANCER_GROUP"

# Whether the load balancer removes a client's own X-Amzn-Mtls-Clientcert-Leaf is not documented. On this listener its
# own comes with every request: a copy beside it is refused as ambiguous. A listener without mutual TLS has none of its
# own, so no other listener and no other load balancer may lead to these targets, whatever its port.
