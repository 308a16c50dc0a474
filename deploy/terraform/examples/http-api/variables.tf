variable "name_prefix" {
  type        = string
  description = "The first part of the name of everything"
  default     = "crlcheck"
}

variable "bundles" {
  type        = string
  description = "The directory of the bundles, as `make bundles` leaves them"
  default     = "../../../../build/bundles"
}

variable "deployer_arn" {
  type        = string
  description = "The ARN of the role that runs Terraform: it uploads whom to trust, and nobody else may"
}

variable "issuers_directory" {
  type        = string
  description = "A directory with the certificates of the CAs whose CRLs count, as `.pem`, `.crt`, `.cer` or `.der`"
}

variable "truststore_file" {
  type        = string
  description = "A PEM file with the CAs of the API's clients"
}

variable "domain_name" {
  type        = string
  description = "The API's domain name"
}

variable "certificate_arn" {
  type        = string
  description = "The certificate of that name in AWS Certificate Manager, a public one that ACM issued"
}

variable "backend_url" {
  type        = string
  description = "What the API protects, such as `https://orders.example.com`. It must let nobody in but the API"

  validation {
    condition     = can(regex("^https?://[^/?#]+$", var.backend_url))
    error_message = "backend_url must end after the host: the path of the request is put there."
  }
}

variable "mode" {
  type        = string
  description = "`observe` lets everybody pass and logs what would be denied; `enforce` denies"
  default     = "observe"
}

variable "reserved_concurrency" {
  type        = number
  description = "How many preprocessors may run at once, kept free for it; 0 for no bound, in accounts with few"
  default     = 4
}

variable "alarm_topic_arn" {
  type        = string
  description = "The SNS topic that alarms go to; null for none"
  default     = null
}
