data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.region

  bucket     = "${var.name_prefix}-${local.account}-${local.region}"
  bucket_arn = "arn:${local.partition}:s3:::${local.bucket}"
  store      = "s3://${local.bucket}/published"

  # Actions that change an object, or how it can be read.
  writes = ["s3:PutObject*", "s3:DeleteObject*", "s3:Replicate*", "s3:Update*"]
}

# Its objects decide which clients may pass, so neither it nor what protects them is ever
# destroyed: without its versioning, say, it would be there with its versions suspended.
resource "aws_s3_bucket" "this" {
  #checkov:skip=CKV_AWS_18:Access logs need a second bucket; CloudTrail's data events tell who wrote, and the store keeps a history of its own.
  #checkov:skip=CKV_AWS_144:What is published can be made again from the CAs' CRLs.
  #checkov:skip=CKV_AWS_145:The key is kms_key_arn, where one is wanted.
  bucket = local.bucket
  tags   = { "crlcheck:store" = var.name_prefix }

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_versioning" "this" {
  bucket = aws_s3_bucket.this.id

  versioning_configuration {
    status = "Enabled"
  }

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_ownership_controls" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_public_access_block" "this" {
  bucket = aws_s3_bucket.this.id

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    bucket_key_enabled = var.kms_key_arn == null ? null : true

    apply_server_side_encryption_by_default {
      sse_algorithm     = var.kms_key_arn == null ? "AES256" : "aws:kms"
      kms_master_key_id = var.kms_key_arn
    }
  }

  lifecycle {
    prevent_destroy = true
  }
}

# Nothing is deleted by its age, because the image in use may be old: crlcheck deletes what it
# has superseded. Its earlier versions are all that goes here.
resource "aws_s3_bucket_lifecycle_configuration" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    id     = "versions-that-are-not-current"
    status = "Enabled"
    filter {}

    noncurrent_version_expiration {
      noncurrent_days = 90
    }
  }

  rule {
    id     = "uploads-that-were-abandoned"
    status = "Enabled"
    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }

  lifecycle {
    prevent_destroy = true
  }

  depends_on = [aws_s3_bucket_versioning.this]
}

resource "aws_s3_bucket_notification" "this" {
  bucket      = aws_s3_bucket.this.id
  eventbridge = true

  dynamic "lambda_function" {
    for_each = var.event_source == "s3" ? [aws_lambda_function.preprocessor.arn] : []

    content {
      lambda_function_arn = lambda_function.value
      events              = ["s3:ObjectCreated:*"]
      filter_prefix       = "crl/"
    }
  }

  # S3 tries the notification when it is configured.
  depends_on = [aws_lambda_permission.bucket]
}

resource "aws_s3_bucket_policy" "this" {
  bucket = aws_s3_bucket.this.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid       = "DenyWithoutTls"
          Effect    = "Deny"
          Principal = "*"
          Action    = "s3:*"
          Resource  = [local.bucket_arn, "${local.bucket_arn}/*"]
          Condition = { Bool = { "aws:SecureTransport" = "false" } }
        },
        # Whoever writes there decides what is revoked, whatever other rights of theirs say.
        {
          Sid       = "DenyPublishing"
          Effect    = "Deny"
          Principal = "*"
          Action    = local.writes
          Resource  = "${local.bucket_arn}/published/*"
          Condition = {
            ArnNotLike = {
              "aws:PrincipalArn" = concat([aws_iam_role.preprocessor.arn], var.break_glass_role_arns)
            }
          }
        },
        # Whoever writes there decides whom to trust.
        merge(
          {
            Sid       = "DenyTrusting"
            Effect    = "Deny"
            Principal = "*"
            Action    = local.writes
            Resource  = ["${local.bucket_arn}/issuers/*", "${local.bucket_arn}/truststore/*"]
          },
          # Without anybody to except, the denial has no condition and is for everybody.
          {
            for name, operators in { Condition = { ArnNotLike = { "aws:PrincipalArn" = var.issuers_writer_arns } } } :
            name => operators if length(var.issuers_writer_arns) > 0
          },
        ),
      ],
      [
        for statement in [
          {
            Sid       = "AllowPrivateCa"
            Effect    = "Allow"
            Principal = { Service = "acm-pca.amazonaws.com" }
            Action    = ["s3:PutObject", "s3:PutObjectAcl"]
            Resource = [
              "${local.bucket_arn}/crl/*",
              # It tries its access with these objects, which are ignored.
              "${local.bucket_arn}/acm-pca-permission-test-key",
              "${local.bucket_arn}/acm-pca-permission-test-key-private",
            ]
            Condition = { ArnEquals = { "aws:SourceArn" = var.private_ca_arns } }
          },
          {
            Sid       = "AllowPrivateCaToLook"
            Effect    = "Allow"
            Principal = { Service = "acm-pca.amazonaws.com" }
            Action    = ["s3:GetBucketAcl", "s3:GetBucketLocation"]
            Resource  = local.bucket_arn
            Condition = { ArnEquals = { "aws:SourceArn" = var.private_ca_arns } }
          },
        ] : statement if length(var.private_ca_arns) > 0
      ],
      [
        for statement in [
          {
            Sid       = "AllowCrlWriters"
            Effect    = "Allow"
            Principal = { AWS = var.crl_writer_arns }
            Action    = "s3:PutObject"
            Resource  = "${local.bucket_arn}/crl/*"
          },
        ] : statement if length(var.crl_writer_arns) > 0
      ],
    )
  })

  lifecycle {
    prevent_destroy = true
  }

  # The block looks at policies that are put after it.
  depends_on = [aws_s3_bucket_public_access_block.this]
}
