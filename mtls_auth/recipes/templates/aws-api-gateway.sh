# AWS API Gateway for @{server_name}, an HTTP API before a Lambda function. Not run here: written from its
# documentation.
#
# Set first: BUCKET, CERTIFICATE_ARN (the server's), API_ID, FUNCTION, REGION, ACCOUNT.
set -eu

# Your clients' CA up to its root, and no other.
aws s3 cp "@{client_ca}" "s3://$BUCKET/client-ca.pem"

# Mutual TLS belongs to the domain name. It refuses clients without a good certificate here; revocation is not checked.
aws apigatewayv2 create-domain-name --domain-name "@{server_name}" \
    --domain-name-configurations "CertificateArn=$CERTIFICATE_ARN,EndpointType=REGIONAL,SecurityPolicy=TLS_1_2" \
    --mutual-tls-authentication "TruststoreUri=s3://$BUCKET/client-ca.pem"
aws apigatewayv2 create-api-mapping --api-id "$API_ID" --domain-name "@{server_name}" --stage '$default'

# The API's own address asks nobody for a certificate.
aws apigatewayv2 update-api --api-id "$API_ID" --disable-execute-api-endpoint

# The certificate comes in the event, which whoever may invoke the function writes. So this API may, and nobody else:
# look at what aws lambda get-policy prints, let the function have no URL, and see who has lambda:InvokeFunction.
aws lambda add-permission --function-name "$FUNCTION" --statement-id api-gateway --action lambda:InvokeFunction \
    --principal apigateway.amazonaws.com --source-arn "arn:aws:execute-api:$REGION:$ACCOUNT:$API_ID/*"

# No header carries the certificate, so there is nothing to forge and no secret. See on a request of your own that the
# certificate arrives at all: requestContext.authentication.clientCert.clientCertPem of the event. For a REST API
# (aws apigateway create-domain-name --mutual-tls-authentication truststoreUri=…) it is
# requestContext.identity.clientCert.clientCertPem; both are read.
