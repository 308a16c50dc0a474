# Whom to trust: the files are in version control, so each change of them is reviewed.

resource "aws_s3_object" "issuers" {
  for_each = fileset(var.issuers_directory, "*.{pem,crt,cer,der}")

  bucket      = module.crlcheck.bucket_name
  key         = "issuers/${each.value}"
  source      = "${var.issuers_directory}/${each.value}"
  source_hash = filesha256("${var.issuers_directory}/${each.value}")

  # The bucket's policy and its versions come first.
  depends_on = [module.crlcheck]
}

resource "aws_s3_object" "truststore" {
  bucket      = module.crlcheck.bucket_name
  key         = "truststore/truststore.pem"
  source      = var.truststore_file
  source_hash = filesha256(var.truststore_file)

  depends_on = [module.crlcheck]
}
