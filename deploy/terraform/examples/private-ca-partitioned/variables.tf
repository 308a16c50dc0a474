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

variable "common_name" {
  type        = string
  description = "The CA's name"
  default     = "Clients CA"
}

variable "crl_days" {
  type        = number
  description = "After how many days a CRL ends. AWS Private CA makes the next one in time"
  default     = 7
}

variable "publish_crls" {
  type        = bool
  description = "Whether the CA writes CRLs. AWS Private CA tries the bucket when this is set, and the bucket's policy names the CA: so apply with false first, then with true"
  default     = false
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
