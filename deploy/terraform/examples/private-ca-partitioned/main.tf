# AWS Private CA with partitioned CRLs: every part is published, and a certificate is checked
# against the part that it names. A part that is missing denies whom it would cover.
#
#     terraform apply                            # the bucket, the functions and the CA
#     terraform apply -var publish_crls=true     # now the CA may write its CRLs
#
# Issue certificates after the second only: those before it name no CRL.

data "aws_caller_identity" "current" {}

data "aws_region" "current" {}

locals {
  # The module's name for it, written out: the policy of the bucket refers to the CA, so the CA
  # cannot refer to the bucket.
  bucket = "${var.name_prefix}-${data.aws_caller_identity.current.account_id}-${data.aws_region.current.region}"
}

# By CloudFormation, because the resource aws_acmpca_certificate_authority has no CrlType.
resource "aws_cloudformation_stack" "ca" {
  #checkov:skip=CKV_AWS_124:Terraform waits for it and tells what happened.
  name          = "${var.name_prefix}-ca"
  template_body = file("${path.module}/ca.yaml")

  parameters = {
    CommonName  = var.common_name
    BucketName  = local.bucket
    CrlDays     = var.crl_days
    PublishCrls = var.publish_crls
  }
}

module "crlcheck" {
  source = "../.."

  name_prefix          = var.name_prefix
  authorizer_bundle    = "${var.bundles}/authorizer-arm64.zip"
  preprocessor_bundle  = "${var.bundles}/preprocessor-arm64.zip"
  private_ca_arns      = [aws_cloudformation_stack.ca.outputs["Arn"]]
  mode                 = var.mode
  alarm_topic_arn      = var.alarm_topic_arn
  reserved_concurrency = var.reserved_concurrency
}
