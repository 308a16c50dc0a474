"""A Lambda function that verifies, compiles and publishes CRLs uploaded to S3."""
