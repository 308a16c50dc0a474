locals {
  # The end of each metric's name in the dashboard: its dimensions.
  in_preprocessor = ["service", "crlcheck-preprocessor", "store", local.store]
  in_authorizer   = ["service", "crlcheck-authorizer", "store", local.store]

  widgets = [
    {
      title = "Decisions by verdict"
      at    = [0, 0, 12], stat = "Sum", period = 300
      metrics = [
        for verdict in ["not_revoked", "revoked", "undetermined"] :
        concat(["crlcheck", "decisions"], local.in_authorizer, ["verdict", verdict])
      ]
    },
    {
      title = "Decisions by verdict and cause"
      at    = [12, 0, 12], stat = "Sum", period = 300
      metrics = [[{
        expression = "SEARCH('{crlcheck,cause,service,store,verdict} MetricName=\"decisions\" store=\"${local.store}\"', 'Sum', 300)"
        label      = "$${PROP('Dim.verdict')} $${PROP('Dim.cause')}"
      }]]
    },
    {
      title = "Seconds until a CRL ends"
      at    = [0, 6, 8], stat = "Minimum", period = 3600
      metrics = [
        concat(["crlcheck", "TimeLeft"], local.in_preprocessor),
        concat(["crlcheck", "seconds_to_next_update"], local.in_authorizer),
      ]
    },
    {
      title   = "Age of the catalog in use, in seconds"
      at      = [8, 6, 8], stat = "Maximum", period = 300
      metrics = [concat(["crlcheck", "catalog_age"], local.in_authorizer)]
    },
    {
      title = "What is wrong with the store"
      at    = [16, 6, 8], stat = "Sum", period = 300
      metrics = [
        concat(["crlcheck", "store_errors"], local.in_authorizer),
        concat(["crlcheck", "refused_catalogs"], local.in_authorizer),
        concat(["crlcheck", "UnreadableObjects"], local.in_preprocessor, [{ stat = "Maximum" }]),
      ]
    },
    {
      title = "Outcomes of CRLs"
      at    = [0, 12, 8], stat = "Sum", period = 3600
      metrics = [
        for outcome in ["Published", "Unchanged", "Rejected", "Failed", "Missing", "Ignored", "Warnings"] :
        concat(["crlcheck", outcome], local.in_preprocessor)
      ]
    },
    {
      title = "Entries and revocations"
      at    = [8, 12, 8], stat = "Sum", period = 3600
      metrics = [
        concat(["crlcheck", "Entries"], local.in_preprocessor, [{ stat = "Maximum" }]),
        concat(["crlcheck", "NewlyRevoked"], local.in_preprocessor),
        concat(["crlcheck", "Lifted"], local.in_preprocessor),
      ]
    },
    {
      title   = "Bytes of CRLs and images"
      at      = [16, 12, 8], stat = "Maximum", period = 3600
      metrics = [for size in ["SourceSize", "ImageSize"] : concat(["crlcheck", size], local.in_preprocessor)]
    },
    {
      title = "Stages of a publication, in seconds"
      at    = [0, 18, 8], stat = "Maximum", period = 3600
      metrics = [
        for stage in ["Compile", "Upload", "Swap", "Compare"] :
        concat(["crlcheck", "${stage}Seconds"], local.in_preprocessor)
      ]
    },
    {
      title   = "Cold starts"
      at      = [8, 18, 8], stat = "Sum", period = 300
      metrics = [concat(["crlcheck", "cold_starts"], local.in_authorizer)]
    },
    {
      title = "Duration of the authorizer, in ms"
      at    = [16, 18, 8], stat = "Sum", period = 300
      metrics = [
        for percentile in ["p50", "p99"] :
        ["AWS/Lambda", "Duration", "FunctionName", aws_lambda_function.authorizer.function_name, { stat = percentile }]
      ]
    },
    {
      title = "Errors and throttles"
      at    = [0, 24, 12], stat = "Sum", period = 300
      metrics = [
        for pair in setproduct(
          [aws_lambda_function.preprocessor.function_name, aws_lambda_function.authorizer.function_name],
          ["Errors", "Throttles"],
        ) : ["AWS/Lambda", pair[1], "FunctionName", pair[0]]
      ]
    },
    {
      title   = "Events that failed for good"
      at      = [12, 24, 12], stat = "Maximum", period = 300
      metrics = [["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", aws_sqs_queue.failures.name]]
    },
  ]
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name_prefix

  dashboard_body = jsonencode({
    widgets = [
      for widget in local.widgets : {
        type   = "metric"
        x      = widget.at[0]
        y      = widget.at[1]
        width  = widget.at[2]
        height = 6
        properties = {
          title   = widget.title
          region  = local.region
          stat    = widget.stat
          period  = widget.period
          view    = "timeSeries"
          metrics = widget.metrics
        }
      }
    ]
  })
}
