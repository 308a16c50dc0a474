locals {
  assumed_by_lambda = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Principal = { Service = "lambda.amazonaws.com" }
        Action    = "sts:AssumeRole"
      },
    ]
  })

  through_s3 = { StringEquals = { "kms:ViaService" = "s3.${local.region}.${data.aws_partition.current.dns_suffix}" } }
}

resource "aws_cloudwatch_log_group" "preprocessor" {
  #checkov:skip=CKV_AWS_158:CloudWatch encrypts logs with a key of its own, and no line has a secret.
  #checkov:skip=CKV_AWS_338:log_retention_days says how long.
  name              = "/aws/lambda/${var.name_prefix}-preprocessor"
  retention_in_days = var.log_retention_days
}

resource "aws_iam_role" "preprocessor" {
  name                 = "${var.name_prefix}-preprocessor"
  description          = "Reads CRLs and issuers, and publishes"
  permissions_boundary = var.permissions_boundary_arn
  assume_role_policy   = local.assumed_by_lambda
}

resource "aws_iam_role_policy" "preprocessor" {
  name = "preprocess"
  role = aws_iam_role.preprocessor.name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid      = "Read"
          Effect   = "Allow"
          Action   = "s3:GetObject"
          Resource = [for prefix in ["crl", "issuers", "published"] : "${local.bucket_arn}/${prefix}/*"]
        },
        {
          Sid      = "Publish"
          Effect   = "Allow"
          Action   = ["s3:PutObject", "s3:DeleteObject"]
          Resource = "${local.bucket_arn}/published/*"
        },
        # S3 answers 404 for what is not there only to those who may list. A GET has no prefix,
        # and AWS does not say what a condition on one means for it.
        {
          Sid      = "List"
          Effect   = "Allow"
          Action   = "s3:ListBucket"
          Resource = local.bucket_arn
        },
        {
          Sid      = "ReportFailures"
          Effect   = "Allow"
          Action   = "sqs:SendMessage"
          Resource = aws_sqs_queue.failures.arn
        },
        # The names of a group's streams are chosen by Lambda.
        {
          Sid      = "Log"
          Effect   = "Allow"
          Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
          Resource = "${aws_cloudwatch_log_group.preprocessor.arn}:*"
        },
      ],
      [
        for queue in aws_sqs_queue.events : {
          Sid      = "TakeEvents"
          Effect   = "Allow"
          Action   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
          Resource = queue.arn
        }
      ],
      [
        for statement in [
          {
            Sid      = "AskPrivateCas"
            Effect   = "Allow"
            Action   = "acm-pca:GetCertificateAuthorityCertificate"
            Resource = var.private_ca_arns
          },
        ] : statement if length(var.private_ca_arns) > 0
      ],
      [
        for key in var.kms_key_arn[*] : {
          Sid       = "UseKeyOfBucket"
          Effect    = "Allow"
          Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
          Resource  = key
          Condition = local.through_s3
        }
      ],
    )
  })
}

resource "aws_lambda_function" "preprocessor" {
  #checkov:skip=CKV_AWS_50:X-Ray is asked for where it is wanted.
  #checkov:skip=CKV_AWS_116:What fails goes to aws_sqs_queue.failures, which aws_lambda_function_event_invoke_config names.
  #checkov:skip=CKV_AWS_117:It talks to S3 and to the web alone; a VPC would need NAT and endpoints, and protect nothing.
  #checkov:skip=CKV_AWS_173:No variable is a secret.
  #checkov:skip=CKV_AWS_272:Whoever deploys made the bundle; its hash is in the state.
  function_name                  = "${var.name_prefix}-preprocessor"
  description                    = "Verifies CRLs and publishes them"
  filename                       = var.preprocessor_bundle
  source_code_hash               = filebase64sha256(var.preprocessor_bundle)
  handler                        = "preprocessor.handler.handler"
  runtime                        = "python3.13"
  architectures                  = [var.architecture]
  memory_size                    = 2048
  timeout                        = 900
  reserved_concurrent_executions = var.reserved_concurrency == 0 ? -1 : var.reserved_concurrency
  role                           = aws_iam_role.preprocessor.arn

  ephemeral_storage {
    size = 2048
  }

  logging_config {
    log_format = "Text"
    log_group  = aws_cloudwatch_log_group.preprocessor.name
  }

  environment {
    variables = {
      for name, value in {
        CRLCHECK_STORE         = local.store
        CRLCHECK_ISSUERS       = "s3://${local.bucket}/issuers"
        CRLCHECK_PRIVATE_CAS   = length(var.private_ca_arns) == 0 ? null : join(",", var.private_ca_arns)
        CRLCHECK_FETCH_URLS    = length(var.fetch_urls) == 0 ? null : join(",", var.fetch_urls)
        CRLCHECK_FETCH_PRIVATE = tostring(var.fetch_private)
      } : name => value if value != null
    }
  }

  # Lambda could not write a line, nor the function read its store, before that.
  depends_on = [aws_iam_role_policy.preprocessor]
}

# Lambda tries an event again twice. What fails then is kept, with the reason.
resource "aws_lambda_function_event_invoke_config" "preprocessor" {
  function_name                = aws_lambda_function.preprocessor.function_name
  qualifier                    = "$LATEST"
  maximum_retry_attempts       = 2
  maximum_event_age_in_seconds = 21600

  destination_config {
    on_failure {
      destination = aws_sqs_queue.failures.arn
    }
  }
}

resource "aws_sqs_queue" "failures" {
  name                      = "${var.name_prefix}-failures"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = true
}

resource "aws_sqs_queue_policy" "failures" {
  queue_url = aws_sqs_queue.failures.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid       = "DenyWithoutTls"
          Effect    = "Deny"
          Principal = "*"
          Action    = "sqs:*"
          Resource  = aws_sqs_queue.failures.arn
          Condition = { Bool = { "aws:SecureTransport" = "false" } }
        },
      ],
      # Events that the rule could not deliver.
      [
        for rule in aws_cloudwatch_event_rule.uploads : {
          Sid       = "AllowUploadRule"
          Effect    = "Allow"
          Principal = { Service = "events.amazonaws.com" }
          Action    = "sqs:SendMessage"
          Resource  = aws_sqs_queue.failures.arn
          Condition = { ArnEquals = { "aws:SourceArn" = rule.arn } }
        }
      ],
    )
  })
}
