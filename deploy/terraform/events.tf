# ---- uploads -----------------------------------------------------------------

resource "aws_lambda_permission" "bucket" {
  count = var.event_source == "s3" ? 1 : 0

  action         = "lambda:InvokeFunction"
  function_name  = aws_lambda_function.preprocessor.function_name
  principal      = "s3.amazonaws.com"
  source_account = local.account
  source_arn     = local.bucket_arn
}

resource "aws_cloudwatch_event_rule" "uploads" {
  count = var.event_source == "s3" ? 0 : 1

  name        = "${var.name_prefix}-uploads"
  description = "Objects that are written to crl/"

  event_pattern = jsonencode({
    source      = ["aws.s3"]
    detail-type = ["Object Created"]
    detail = {
      bucket = { name = [local.bucket] }
      object = { key = [{ prefix = "crl/" }] }
    }
  })
}

resource "aws_cloudwatch_event_target" "uploads" {
  count = length(aws_cloudwatch_event_rule.uploads)

  rule      = aws_cloudwatch_event_rule.uploads[0].name
  target_id = "preprocessor"
  arn       = var.event_source == "sqs" ? aws_sqs_queue.events[0].arn : aws_lambda_function.preprocessor.arn

  dead_letter_config {
    arn = aws_sqs_queue.failures.arn
  }
}

resource "aws_lambda_permission" "uploads" {
  count = var.event_source == "eventbridge" ? 1 : 0

  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.preprocessor.function_name
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.uploads[0].arn
}

resource "aws_sqs_queue" "events" {
  count = var.event_source == "sqs" ? 1 : 0

  name = "${var.name_prefix}-events"
  # A message that failed comes again after this time. It is little longer than the function
  # may take, and not six times as long, as AWS advises for functions that are throttled:
  # a revocation must not wait for an hour and a half. aws_lambda_event_source_mapping.events
  # does not ask for more instances than are reserved.
  visibility_timeout_seconds = 1080
  message_retention_seconds  = 345600
  sqs_managed_sse_enabled    = true

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.failures.arn
    maxReceiveCount     = 8
  })
}

resource "aws_sqs_queue_policy" "events" {
  count = length(aws_sqs_queue.events)

  queue_url = aws_sqs_queue.events[0].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "DenyWithoutTls"
        Effect    = "Deny"
        Principal = "*"
        Action    = "sqs:*"
        Resource  = aws_sqs_queue.events[0].arn
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
      {
        Sid       = "AllowUploadRule"
        Effect    = "Allow"
        Principal = { Service = "events.amazonaws.com" }
        Action    = "sqs:SendMessage"
        Resource  = aws_sqs_queue.events[0].arn
        Condition = { ArnEquals = { "aws:SourceArn" = aws_cloudwatch_event_rule.uploads[0].arn } }
      },
    ]
  })
}

resource "aws_lambda_event_source_mapping" "events" {
  count = length(aws_sqs_queue.events)

  event_source_arn        = aws_sqs_queue.events[0].arn
  function_name           = aws_lambda_function.preprocessor.function_name
  batch_size              = 10
  function_response_types = ["ReportBatchItemFailures"]

  scaling_config {
    maximum_concurrency = var.reserved_concurrency == 0 ? 4 : var.reserved_concurrency
  }

  # Lambda asks whether the role may read the queue.
  depends_on = [aws_iam_role_policy.preprocessor]
}

# ---- schedules ---------------------------------------------------------------

locals {
  # Rules, not EventBridge Scheduler: they need no role that may invoke.
  schedules = {
    for name, schedule in {
      fetch = {
        when        = length(var.fetch_urls) == 0 ? null : var.fetch_schedule
        event       = { fetch = true }
        description = "Fetches the CRLs of fetch_urls"
      }
      clean-up = {
        when        = "rate(1 day)"
        event       = { clean_up = true }
        description = "Deletes what newer CRLs have superseded"
      }
      # Every twelve hours, so that no whole day is without an outcome.
      rescan = {
        when        = "rate(12 hours)"
        event       = { rescan = "crl/" }
        description = "Reads every CRL again, for events that were lost"
      }
      status = {
        when        = "rate(1 hour)"
        event       = { status = true }
        description = "Writes the metrics of what is published"
      }
    } : name => schedule if schedule.when != null
  }
}

resource "aws_cloudwatch_event_rule" "schedules" {
  for_each = local.schedules

  name                = "${var.name_prefix}-${each.key}"
  description         = each.value.description
  schedule_expression = each.value.when
}

resource "aws_cloudwatch_event_target" "schedules" {
  for_each = local.schedules

  rule      = aws_cloudwatch_event_rule.schedules[each.key].name
  target_id = "preprocessor"
  arn       = aws_lambda_function.preprocessor.arn
  input     = jsonencode(each.value.event)
}

resource "aws_lambda_permission" "schedules" {
  for_each = local.schedules

  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.preprocessor.function_name
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.schedules[each.key].arn
}
