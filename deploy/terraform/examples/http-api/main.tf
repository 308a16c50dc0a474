# An HTTP API with mutual TLS, before a backend of yours: each request of any path and method
# asks the authorizer first.

module "crlcheck" {
  source = "../.."

  name_prefix          = var.name_prefix
  authorizer_bundle    = "${var.bundles}/authorizer-arm64.zip"
  preprocessor_bundle  = "${var.bundles}/preprocessor-arm64.zip"
  issuers_writer_arns  = [var.deployer_arn]
  mode                 = var.mode
  alarm_topic_arn      = var.alarm_topic_arn
  reserved_concurrency = var.reserved_concurrency
}

resource "aws_apigatewayv2_api" "this" {
  name          = var.name_prefix
  protocol_type = "HTTP"
  # There, no certificate would be asked for.
  disable_execute_api_endpoint = true
}

resource "aws_apigatewayv2_authorizer" "crlcheck" {
  name                              = "crlcheck"
  api_id                            = aws_apigatewayv2_api.this.id
  authorizer_type                   = "REQUEST"
  authorizer_payload_format_version = "2.0"
  authorizer_uri                    = module.crlcheck.authorizer_invoke_uri
  # One client's decision must not be used for another, nor an old one.
  authorizer_result_ttl_in_seconds = 0
  enable_simple_responses          = false
}

resource "aws_lambda_permission" "authorizer" {
  action        = "lambda:InvokeFunction"
  function_name = module.crlcheck.authorizer_function_name
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_apigatewayv2_api.this.execution_arn}/authorizers/*"
}

resource "aws_apigatewayv2_integration" "backend" {
  api_id             = aws_apigatewayv2_api.this.id
  integration_type   = "HTTP_PROXY"
  integration_method = "ANY"
  integration_uri    = var.backend_url
  # The integration's URL has no path of its own: the request's is put behind it.
  request_parameters = { "overwrite:path" = "$request.path" }
}

# The only route, which every method and path has, OPTIONS too. Each route that you add needs
# the authorizer as well.
resource "aws_apigatewayv2_route" "default" {
  api_id             = aws_apigatewayv2_api.this.id
  route_key          = "$default"
  authorization_type = "CUSTOM"
  authorizer_id      = aws_apigatewayv2_authorizer.crlcheck.id
  target             = "integrations/${aws_apigatewayv2_integration.backend.id}"
}

resource "aws_cloudwatch_log_group" "api" {
  #checkov:skip=CKV_AWS_158:CloudWatch encrypts logs with a key of its own, and no line has a secret.
  #checkov:skip=CKV_AWS_338:Ninety days are what the module keeps too.
  # Of this prefix CloudWatch lets API Gateway write without a policy for each group.
  name              = "/aws/vendedlogs/${var.name_prefix}-api"
  retention_in_days = 90
}

resource "aws_apigatewayv2_stage" "default" {
  api_id      = aws_apigatewayv2_api.this.id
  name        = "$default"
  auto_deploy = true

  default_route_settings {
    throttling_burst_limit = 100
    throttling_rate_limit  = 50
  }

  access_log_settings {
    destination_arn = aws_cloudwatch_log_group.api.arn

    format = jsonencode({
      time             = "$context.requestTime"
      request_id       = "$context.requestId"
      method           = "$context.httpMethod"
      path             = "$context.path"
      status           = "$context.status"
      verdict          = "$context.authorizer.verdict"
      cause            = "$context.authorizer.cause"
      observed         = "$context.authorizer.observed"
      crl_number       = "$context.authorizer.crl_number"
      serial_number    = "$context.authorizer.serial_number"
      authorizer_error = "$context.authorizer.error"
    })
  }

  # A route that came after the stage would be open for a moment.
  depends_on = [aws_apigatewayv2_route.default]
}

resource "aws_apigatewayv2_domain_name" "this" {
  domain_name = var.domain_name

  domain_name_configuration {
    certificate_arn = var.certificate_arn
    endpoint_type   = "REGIONAL"
    security_policy = "TLS_1_2"
  }

  # The version is pinned: another trust store needs another deployment.
  mutual_tls_authentication {
    truststore_uri     = "s3://${aws_s3_object.truststore.bucket}/${aws_s3_object.truststore.key}"
    truststore_version = aws_s3_object.truststore.version_id
  }
}

resource "aws_apigatewayv2_api_mapping" "this" {
  api_id      = aws_apigatewayv2_api.this.id
  domain_name = aws_apigatewayv2_domain_name.this.id
  stage       = aws_apigatewayv2_stage.default.id
}
