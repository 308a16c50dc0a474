output "bucket_name" {
  description = "Upload CRLs to `crl/`, the certificates of their issuers to `issuers/`"
  value       = aws_s3_bucket.this.bucket
}

output "bucket_arn" {
  description = "Its ARN, for the policies of others who read `published/`"
  value       = aws_s3_bucket.this.arn
}

output "store_url" {
  description = "What crlcheck reads, such as `crlcheck status`"
  value       = local.store
}

output "authorizer_function_arn" {
  description = "The authorizer"
  value       = aws_lambda_function.authorizer.arn
}

output "authorizer_function_name" {
  description = "Its name, for the permission that lets an API invoke it"
  value       = aws_lambda_function.authorizer.function_name
}

output "authorizer_invoke_uri" {
  description = "What an API names as the URI of its authorizer"
  value       = aws_lambda_function.authorizer.invoke_arn
}

output "preprocessor_function_arn" {
  description = "The preprocessor"
  value       = aws_lambda_function.preprocessor.arn
}

output "failure_queue_url" {
  description = "Where events are that failed for good"
  value       = aws_sqs_queue.failures.url
}

output "dashboard_name" {
  description = "The dashboard in CloudWatch"
  value       = aws_cloudwatch_dashboard.this.dashboard_name
}
