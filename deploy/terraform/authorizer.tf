resource "aws_cloudwatch_log_group" "authorizer" {
  #checkov:skip=CKV_AWS_158:CloudWatch encrypts logs with a key of its own, and no line has a secret.
  #checkov:skip=CKV_AWS_338:log_retention_days says how long.
  name              = "/aws/lambda/${var.name_prefix}-authorizer"
  retention_in_days = var.log_retention_days
}

resource "aws_iam_role" "authorizer" {
  name                 = "${var.name_prefix}-authorizer"
  description          = "Reads what is published, and writes nothing but logs"
  permissions_boundary = var.permissions_boundary_arn
  assume_role_policy   = local.assumed_by_lambda
}

resource "aws_iam_role_policy" "authorizer" {
  name = "authorize"
  role = aws_iam_role.authorizer.name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid      = "Read"
          Effect   = "Allow"
          Action   = "s3:GetObject"
          Resource = "${local.bucket_arn}/published/*"
        },
        # As for the preprocessor: what is not there is 404 only to those who may list.
        {
          Sid      = "List"
          Effect   = "Allow"
          Action   = "s3:ListBucket"
          Resource = local.bucket_arn
        },
        {
          Sid      = "Log"
          Effect   = "Allow"
          Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
          Resource = "${aws_cloudwatch_log_group.authorizer.arn}:*"
        },
      ],
      [
        for key in var.kms_key_arn[*] : {
          Sid       = "UseKeyOfBucket"
          Effect    = "Allow"
          Action    = "kms:Decrypt"
          Resource  = key
          Condition = local.through_s3
        }
      ],
    )
  })
}

resource "aws_lambda_function" "authorizer" {
  #checkov:skip=CKV_AWS_50:X-Ray is asked for where it is wanted.
  #checkov:skip=CKV_AWS_115:It must answer every request; a bound on it would be one on the API.
  #checkov:skip=CKV_AWS_116:API Gateway waits for its answer, so nothing is ever queued for it.
  #checkov:skip=CKV_AWS_117:It talks to S3 alone; a VPC would need endpoints, and protect nothing.
  #checkov:skip=CKV_AWS_173:No variable is a secret.
  #checkov:skip=CKV_AWS_272:Whoever deploys made the bundle; its hash is in the state.
  function_name    = "${var.name_prefix}-authorizer"
  description      = "Denies clients whose certificate is revoked"
  filename         = var.authorizer_bundle
  source_code_hash = filebase64sha256(var.authorizer_bundle)
  handler          = "lambda_authorizer.handler.handler"
  runtime          = "python3.13"
  architectures    = [var.architecture]
  memory_size      = 512
  timeout          = 10
  role             = aws_iam_role.authorizer.arn

  logging_config {
    log_format = "Text"
    log_group  = aws_cloudwatch_log_group.authorizer.name
  }

  environment {
    variables = {
      for name, value in {
        CRLCHECK_STORE           = local.store
        CRLCHECK_MODE            = var.mode
        CRLCHECK_STALE           = var.stale_grace == null ? "deny" : "grace"
        CRLCHECK_STALE_GRACE     = var.stale_grace
        CRLCHECK_REFRESH_SECONDS = tostring(var.refresh_seconds)
        CRLCHECK_MAX_CATALOG_AGE = "${var.max_catalog_age_hours}h"
        # While an image is replaced, two of them are in the function's 512 MB.
        CRLCHECK_IMAGE_MEMORY = "201326592"
      } : name => value if value != null
    }
  }

  depends_on = [aws_iam_role_policy.authorizer]
}
