# Amazon CloudFront for @{server_name}, viewer mutual TLS. Not run here: written from its documentation.
#
# Set first: BUCKET, REGION (of the bucket), DISTRIBUTION_ID.
set -eu

# Your clients' CA up to its root, and no other.
aws s3 cp "@{client_ca}" "s3://$BUCKET/client-ca.pem"
aws cloudfront create-trust-store --name client-ca --ca-certificates-bundle-source \
    "CaCertificatesBundleS3Location={Bucket=$BUCKET,Key=client-ca.pem,Region=$REGION}"

# CloudFront forwards the certificate only where an origin request policy asks for it.
aws cloudfront create-origin-request-policy --origin-request-policy-config file://origin-request-policy.json

# Both print an id. Put them into distribution.json, and merge that into the distribution's configuration:
#
# - ViewerMtlsConfig: "required" refuses clients without a good certificate here, "optional" those with a bad one only.
#   CloudFront gives no verdict: the application takes every certificate for verified. So never "passthrough", and
#   never IgnoreCertificateExpiry.
# - CustomHeaders, into the origin: the secret. CloudFront overwrites what the viewer sent under that name.
# - DefaultCacheBehavior: the policy; no caching, for answers depend on the certificate (4135ea2d… is Amazon's own
#   CachingDisabled); and no plain HTTP, where there is no certificate. The same in every other cache behavior.
aws cloudfront get-distribution-config --id "$DISTRIBUTION_ID"
#    aws cloudfront update-distribution --id "$DISTRIBUTION_ID" --if-match ETAG --distribution-config file://…
#
# Anybody can point a distribution of his own at your origin, and it connects from the same addresses: the secret tells
# yours. For @{proxy_address} take every range that Amazon publishes under CLOUDFRONT_ORIGIN_FACING, or the address of
# what stands between.
#
# That a viewer's own CloudFront-Viewer-Cert-Pem does not pass is inferred from the reserved prefix, not documented:
# send a forged one (mtls-auth probe) before you rely on it.
