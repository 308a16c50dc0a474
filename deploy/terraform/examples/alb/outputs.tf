output "bucket_name" {
  description = "Upload CRLs to `crl/`"
  value       = module.crlcheck.bucket_name
}

output "store_url" {
  description = "What crlcheck reads, such as `crlcheck status`"
  value       = module.crlcheck.store_url
}

output "dns_target" {
  description = "What the DNS record of the service leads to"
  value       = aws_lb.this.dns_name
}
