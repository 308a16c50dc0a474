# A REST API with mutual TLS, before a backend of yours: each request of any path and method
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

resource "aws_api_gateway_rest_api" "this" {
  name = var.name_prefix
  # There, no certificate would be asked for.
  disable_execute_api_endpoint = true

  endpoint_configuration {
    types = ["REGIONAL"]
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_api_gateway_authorizer" "crlcheck" {
  name        = "crlcheck"
  rest_api_id = aws_api_gateway_rest_api.this.id
  # TOKEN authorizers are sent no certificate.
  type           = "REQUEST"
  authorizer_uri = module.crlcheck.authorizer_invoke_uri
  # One client's decision must not be used for another, nor an old one. Without a result to
  # keep, no identity source is needed; one would refuse requests that lack it. The provider
  # has one unless it is told otherwise.
  authorizer_result_ttl_in_seconds = 0
  identity_source                  = ""
}

resource "aws_lambda_permission" "authorizer" {
  action        = "lambda:InvokeFunction"
  function_name = module.crlcheck.authorizer_function_name
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_api_gateway_rest_api.this.execution_arn}/authorizers/*"
}

resource "aws_api_gateway_resource" "every_path" {
  rest_api_id = aws_api_gateway_rest_api.this.id
  parent_id   = aws_api_gateway_rest_api.this.root_resource_id
  path_part   = "{proxy+}"
}

# The root, and every path below it. Each method that you add needs the authorizer as well.
resource "aws_api_gateway_method" "root" {
  #checkov:skip=CKV2_AWS_53:What a request must have is for the backend to say.
  rest_api_id   = aws_api_gateway_rest_api.this.id
  resource_id   = aws_api_gateway_rest_api.this.root_resource_id
  http_method   = "ANY"
  authorization = "CUSTOM"
  authorizer_id = aws_api_gateway_authorizer.crlcheck.id
}

resource "aws_api_gateway_method" "every_path" {
  #checkov:skip=CKV2_AWS_53:What a request must have is for the backend to say.
  rest_api_id        = aws_api_gateway_rest_api.this.id
  resource_id        = aws_api_gateway_resource.every_path.id
  http_method        = "ANY"
  authorization      = "CUSTOM"
  authorizer_id      = aws_api_gateway_authorizer.crlcheck.id
  request_parameters = { "method.request.path.proxy" = true }
}

resource "aws_api_gateway_integration" "root" {
  rest_api_id             = aws_api_gateway_rest_api.this.id
  resource_id             = aws_api_gateway_rest_api.this.root_resource_id
  http_method             = aws_api_gateway_method.root.http_method
  type                    = "HTTP_PROXY"
  integration_http_method = "ANY"
  uri                     = var.backend_url
}

resource "aws_api_gateway_integration" "every_path" {
  rest_api_id             = aws_api_gateway_rest_api.this.id
  resource_id             = aws_api_gateway_resource.every_path.id
  http_method             = aws_api_gateway_method.every_path.http_method
  type                    = "HTTP_PROXY"
  integration_http_method = "ANY"
  uri                     = "${var.backend_url}/{proxy}"
  request_parameters      = { "integration.request.path.proxy" = "method.request.path.proxy" }
}

# A deployment is a picture of the API, so it is made again when the API changes.
resource "aws_api_gateway_deployment" "this" {
  rest_api_id = aws_api_gateway_rest_api.this.id

  triggers = {
    api = sha256(jsonencode([
      aws_api_gateway_authorizer.crlcheck,
      aws_api_gateway_resource.every_path,
      aws_api_gateway_method.root,
      aws_api_gateway_method.every_path,
      aws_api_gateway_integration.root,
      aws_api_gateway_integration.every_path,
    ]))
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_cloudwatch_log_group" "api" {
  #checkov:skip=CKV_AWS_158:CloudWatch encrypts logs with a key of its own, and no line has a secret.
  #checkov:skip=CKV_AWS_338:Ninety days are what the module keeps too.
  name              = "/aws/vendedlogs/${var.name_prefix}-api"
  retention_in_days = 90
}

# The access log needs a role of API Gateway for logs in the account and region:
# `aws apigateway get-account` shows it as cloudwatchRoleArn.
resource "aws_api_gateway_stage" "live" {
  #checkov:skip=CKV_AWS_120:A cache of answers would be one of decisions.
  #checkov:skip=CKV_AWS_73:X-Ray is asked for where it is wanted; the access log has every decision.
  #checkov:skip=CKV2_AWS_4:The access log has each request; the other log would have whole requests.
  #checkov:skip=CKV2_AWS_29:A firewall is the reader's choice; it is no part of revocation.
  #checkov:skip=CKV2_AWS_51:The domain asks for clients' certificates; this one would be the API's own, towards the backend.
  rest_api_id   = aws_api_gateway_rest_api.this.id
  deployment_id = aws_api_gateway_deployment.this.id
  stage_name    = "live"

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
}

resource "aws_api_gateway_method_settings" "every_method" {
  #checkov:skip=CKV_AWS_225:A cache of answers would be one of decisions.
  rest_api_id = aws_api_gateway_rest_api.this.id
  stage_name  = aws_api_gateway_stage.live.stage_name
  method_path = "*/*"

  settings {
    throttling_burst_limit = 100
    throttling_rate_limit  = 50
    # It would log whole requests.
    data_trace_enabled = false
  }
}

resource "aws_api_gateway_domain_name" "this" {
  domain_name              = var.domain_name
  regional_certificate_arn = var.certificate_arn
  security_policy          = "TLS_1_2"

  endpoint_configuration {
    types = ["REGIONAL"]
  }

  # The version is pinned: another trust store needs another deployment.
  mutual_tls_authentication {
    truststore_uri     = "s3://${aws_s3_object.truststore.bucket}/${aws_s3_object.truststore.key}"
    truststore_version = aws_s3_object.truststore.version_id
  }
}

resource "aws_api_gateway_base_path_mapping" "this" {
  api_id      = aws_api_gateway_rest_api.this.id
  domain_name = aws_api_gateway_domain_name.this.domain_name
  stage_name  = aws_api_gateway_stage.live.stage_name
}
