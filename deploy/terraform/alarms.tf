# Each alarm by the last part of its name. docs/guides/terraform.md says what to do about it.
# Silence is a fault only where there always is a value, as of what the hourly status writes.
locals {
  of_preprocessor = { service = "crlcheck-preprocessor", store = local.store }
  of_authorizer   = { service = "crlcheck-authorizer", store = local.store }
  preprocessor    = { FunctionName = aws_lambda_function.preprocessor.function_name }
  authorizer      = { FunctionName = aws_lambda_function.authorizer.function_name }

  # Alarms on one metric. `at_least` and `more_than` are thresholds; one of them is given.
  alarms = {
    rejected = {
      description = "A CRL was refused; its log line says why"
      namespace   = "crlcheck"
      metric      = "Rejected"
      dimensions  = local.of_preprocessor
      statistic   = "Sum"
      period      = 300
      at_least    = 1
    }
    failed = {
      description = "CRLs failed three times in fifteen minutes"
      namespace   = "crlcheck"
      metric      = "Failed"
      dimensions  = local.of_preprocessor
      statistic   = "Sum"
      period      = 900
      at_least    = 3
    }
    warnings = {
      description = "A CRL was published with a warning"
      namespace   = "crlcheck"
      metric      = "Warnings"
      dimensions  = local.of_preprocessor
      statistic   = "Sum"
      period      = 300
      at_least    = 1
    }
    failure-queue = {
      description = "Events failed for good; the queue of failures has them"
      namespace   = "AWS/SQS"
      metric      = "ApproximateNumberOfMessagesVisible"
      dimensions  = { QueueName = aws_sqs_queue.failures.name }
      statistic   = "Maximum"
      period      = 300
      more_than   = 0
    }
    unreadable-objects = {
      description = "Objects of the published set are missing or damaged; crlcheck verify names them"
      namespace   = "crlcheck"
      metric      = "UnreadableObjects"
      dimensions  = local.of_preprocessor
      statistic   = "Maximum"
      period      = 7200
      at_least    = 1
    }
    store-errors = {
      description = "The authorizer could not read the store three times in five minutes"
      namespace   = "crlcheck"
      metric      = "store_errors"
      dimensions  = local.of_authorizer
      statistic   = "Sum"
      period      = 300
      at_least    = 3
    }
    refused-catalogs = {
      description = "The store has an earlier catalog than the one in use, or one that cannot be used"
      namespace   = "crlcheck"
      metric      = "refused_catalogs"
      dimensions  = local.of_authorizer
      statistic   = "Sum"
      period      = 300
      at_least    = 1
    }
    undetermined = {
      description = "Clients were denied, or would be, of whom it is not known whether they are revoked"
      namespace   = "crlcheck"
      metric      = "decisions"
      dimensions  = merge(local.of_authorizer, { verdict = "undetermined" })
      statistic   = "Sum"
      period      = 300
      at_least    = 1
    }
    preprocessor-errors = {
      description = "Invocations of the preprocessor failed three times in fifteen minutes"
      namespace   = "AWS/Lambda"
      metric      = "Errors"
      dimensions  = local.preprocessor
      statistic   = "Sum"
      period      = 900
      at_least    = 3
    }
    preprocessor-throttles = {
      description = "Lambda had no room for the preprocessor"
      namespace   = "AWS/Lambda"
      metric      = "Throttles"
      dimensions  = local.preprocessor
      statistic   = "Sum"
      period      = 300
      periods     = 3
      at_least    = 1
    }
    preprocessor-duration = {
      description = "The slowest of a hundred invocations took two thirds of the time that there is"
      namespace   = "AWS/Lambda"
      metric      = "Duration"
      dimensions  = local.preprocessor
      percentile  = "p99"
      period      = 900
      more_than   = 600000
    }
    authorizer-errors = {
      description = "The authorizer failed, and its client got 500"
      namespace   = "AWS/Lambda"
      metric      = "Errors"
      dimensions  = local.authorizer
      statistic   = "Sum"
      period      = 300
      at_least    = 1
    }
    authorizer-throttles = {
      description = "Lambda had no room for the authorizer"
      namespace   = "AWS/Lambda"
      metric      = "Throttles"
      dimensions  = local.authorizer
      statistic   = "Sum"
      period      = 300
      at_least    = 1
    }
    authorizer-duration = {
      description = "The slowest of a hundred invocations took three of the ten seconds that there are"
      namespace   = "AWS/Lambda"
      metric      = "Duration"
      dimensions  = local.authorizer
      percentile  = "p99"
      period      = 300
      more_than   = 3000
    }
  }

  # Alarms on an expression, which gives a number of hours or of CRLs.
  computed_alarms = {
    # The rescan leaves an outcome for each CRL twice a day. So this is raised when nothing runs.
    no-publication = {
      description = "For publication_alarm_hours no CRL was published or found unchanged"
      expression  = "FILL(published, 0) + FILL(unchanged, 0)"
      label       = "CRLs published or unchanged"
      metrics     = { published = "Published", unchanged = "Unchanged" }
      dimensions  = local.of_preprocessor
      statistic   = "Sum"
      period      = 3600
      periods     = var.publication_alarm_hours
      less_than   = 1
      missing     = "breaching"
    }
    # The status writes it every hour: two hours always have a value.
    time-left = {
      description = "A published CRL ends in less than expiry_alarm_hours"
      expression  = "seconds / 3600"
      label       = "hours"
      metrics     = { seconds = "TimeLeft" }
      dimensions  = local.of_preprocessor
      statistic   = "Minimum"
      period      = 7200
      less_than   = var.expiry_alarm_hours
      missing     = "breaching"
    }
    # The authorizer has values only while there are requests.
    seconds-to-next-update = {
      description = "A CRL that decided about a request ends in less than expiry_alarm_hours"
      expression  = "seconds / 3600"
      label       = "hours"
      metrics     = { seconds = "seconds_to_next_update" }
      dimensions  = local.of_authorizer
      statistic   = "Minimum"
      period      = 300
      less_than   = var.expiry_alarm_hours
    }
    catalog-age = {
      description = "The authorizer could not read the catalog for half of max_catalog_age_hours"
      expression  = "2 * seconds / 3600"
      label       = "hours"
      metrics     = { seconds = "catalog_age" }
      dimensions  = local.of_authorizer
      statistic   = "Maximum"
      period      = 300
      more_than   = var.max_catalog_age_hours
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "of_metric" {
  for_each = local.alarms

  alarm_name          = "${var.name_prefix}-${each.key}"
  alarm_description   = each.value.description
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = try(each.value.statistic, null)
  extended_statistic  = try(each.value.percentile, null)
  period              = each.value.period
  evaluation_periods  = try(each.value.periods, 1)
  comparison_operator = can(each.value.at_least) ? "GreaterThanOrEqualToThreshold" : "GreaterThanThreshold"
  threshold           = try(each.value.at_least, each.value.more_than)
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arn[*]
  ok_actions          = var.alarm_topic_arn[*]
}

resource "aws_cloudwatch_metric_alarm" "of_expression" {
  for_each = local.computed_alarms

  alarm_name          = "${var.name_prefix}-${each.key}"
  alarm_description   = each.value.description
  evaluation_periods  = try(each.value.periods, 1)
  comparison_operator = can(each.value.less_than) ? "LessThanThreshold" : "GreaterThanThreshold"
  threshold           = try(each.value.less_than, each.value.more_than)
  treat_missing_data  = try(each.value.missing, "notBreaching")
  alarm_actions       = var.alarm_topic_arn[*]
  ok_actions          = var.alarm_topic_arn[*]

  metric_query {
    id          = can(each.value.metrics.seconds) ? "hours" : "outcomes"
    expression  = each.value.expression
    label       = each.value.label
    return_data = true
  }

  dynamic "metric_query" {
    for_each = each.value.metrics

    content {
      id          = metric_query.key
      return_data = false

      metric {
        namespace   = "crlcheck"
        metric_name = metric_query.value
        dimensions  = each.value.dimensions
        stat        = each.value.statistic
        period      = each.value.period
      }
    }
  }
}
