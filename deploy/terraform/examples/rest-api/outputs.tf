output "bucket_name" {
  description = "Upload CRLs to `crl/`"
  value       = module.crlcheck.bucket_name
}

output "store_url" {
  description = "What crlcheck reads, such as `crlcheck status`"
  value       = module.crlcheck.store_url
}

output "api_url" {
  description = "The API"
  value       = "https://${var.domain_name}/"
}

output "api_dns_target" {
  description = "What the DNS record of the domain name leads to"
  value       = aws_api_gateway_domain_name.this.regional_domain_name
}
