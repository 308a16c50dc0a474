output "private_ca_arn" {
  description = "The CA, for `aws acm-pca issue-certificate`"
  value       = aws_cloudformation_stack.ca.outputs["Arn"]
}

output "store_url" {
  description = "What crlcheck reads, such as `crlcheck status`"
  value       = module.crlcheck.store_url
}

output "authorizer_invoke_uri" {
  description = "What an API names as the URI of its authorizer"
  value       = module.crlcheck.authorizer_invoke_uri
}
